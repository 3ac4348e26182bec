// SPDX-License-Identifier: GPL-2.0-only
// Bytes as a message of DNS. What is understood can be answered, aged and said again; names come
// back as they were.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "dns/answer_cache.h"
#include "dns/edns.h"
#include "dns/message.h"
#include "dns/name.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

/// Lower case, as read_name() has it, and again from its text.
void check_name(const std::string& name) {
  const auto wire = dns::name_to_wire(name);
  check(wire.has_value() && wire->size() <= dns::kLongestName);
  check(dns::read_name(std::string(dns::kHeaderBytes, '\0') + *wire, dns::kHeaderBytes) == name);
}

void check_answer(std::string_view query_bytes, const dns::Message& query) {
  const dns::Record record{.owner = query.question.name,
                           .type = dns::type::kA,
                           .ttl_s = 60,
                           .address = Address::loopback(Family::ipv4)};
  const std::string bytes =
      dns::make_answer(query_bytes, query, dns::Rcode::no_error, {&record, 1});
  const auto answer = dns::parse(bytes);
  check(answer && answer->response && answer->id == query.id);
  check(answer->question == query.question && answer->edns.has_value() == query.edns.has_value());
  const bool bad_version = query.edns && query.edns->version != 0;
  check(answer->answers.size() == (bad_version ? 0 : 1));
  check(bad_version || dns::resolved_addresses(*answer).size() == 1);
  check(dns::parse(dns::make_truncated(query_bytes, query))->truncated);
  check(dns::first_framed(dns::framed(bytes)) == bytes);
}

/// As the question of a client, and as the answer of a server.
void check_forwarding(std::string_view bytes, const dns::Message& message) {
  const auto forwarded = dns::forwarded_query(7, message);
  const auto query = forwarded ? dns::parse(*forwarded) : std::nullopt;
  check(query && query->question == message.question && !query->response);
  check(query->edns.has_value() == message.edns.has_value());
  check(dns::forwarded_query(7, *query) == forwarded);
  const std::string plain = dns::without_edns(std::string(bytes));
  const auto answer = dns::parse(plain);
  check(answer && !answer->edns && answer->question == message.question);
  check(answer->answers.size() == message.answers.size());
  const std::string given = answer_for(dns::with_edns_for(plain, *query), *forwarded, *query);
  const auto for_client = dns::parse(given);
  check(for_client && for_client->id == 7 && for_client->question == message.question);
  check(for_client->answers.size() == message.answers.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)dns::reverse_address(bytes);
  if (const auto wire = dns::name_to_wire(bytes)) {
    check(dns::read_name(std::string(dns::kHeaderBytes, '\0') + *wire, dns::kHeaderBytes)
              .has_value());
  }
  if (const auto error = dns::make_format_error(bytes)) check(error->size() == dns::kHeaderBytes);
  const auto message = dns::parse(bytes);
  if (!message) return 0;
  check(message->answers.size() <= dns::kMostRecords && message->question_end <= size);
  check(dns::udp_capacity(*message) >= dns::kPlainUdpBytes);
  check(dns::resolved_addresses(*message).size() <= message->answers.size());
  check_name(message->question.name);
  for (const dns::Record& record : message->answers) check_name(record.owner);
  check_answer(bytes, *message);
  check_forwarding(bytes, *message);
  std::string aged(bytes);
  dns::age(aged, 3600);
  const auto older = dns::parse(aged);
  check(older && older->answers.size() == message->answers.size());
  return 0;
}
