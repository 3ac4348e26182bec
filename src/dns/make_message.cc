// SPDX-License-Identifier: GPL-2.0-only
// The other half of dns/message.h: messages of our own.
#include <algorithm>
#include <string>

#include "dns/header_bits.h"
#include "dns/message.h"
#include "dns/message_parts.h"

namespace shunt::dns {
namespace {

constexpr std::uint8_t kBadVersion = 1;        // BADVERS is 16: the upper eight bits of twelve
constexpr std::uint16_t kToQuestion = 0xc00c;  // a pointer to the name behind the header

std::uint16_t flags_of(std::string_view message) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(message[2]) << 8 |
                                    static_cast<unsigned char>(message[3]));
}

bool append_record(std::string& out, const Message& query, const Record& record) {
  std::string owner;
  if (record.owner == query.question.name) {
    append_word(owner, kToQuestion);
  } else if (auto wire = name_to_wire(record.owner)) {
    owner = *std::move(wire);
  } else {
    return false;
  }
  const bool is_address = record.type == type::kA || record.type == type::kAaaa;
  const auto data = is_address ? std::string(record.address.bytes()) : name_to_wire(record.target);
  if (!data) return false;
  out += owner;
  append_word(out, record.type);
  append_word(out, kInternet);
  append_long(out, record.ttl_s);
  append_word(out, data->size());
  out += *data;
  return true;
}

/// Header and question. The counts of records are zero.
std::string begin_answer(std::string_view query_bytes, const Message& query, std::uint16_t bits) {
  constexpr std::uint16_t kKept = kOpcode | kRecursionDesired | kCheckingDisabled;
  std::string out(query_bytes.substr(0, 2));
  append_word(out, kResponse | kRecursionAvailable | (flags_of(query_bytes) & kKept) | bits);
  append_word(out, 1);
  out.append(6, '\0');
  out += query_bytes.substr(kHeaderBytes, query.question_end - kHeaderBytes);
  return out;
}

void finish(std::string& out, const Message& query, std::uint8_t high_rcode) {
  if (!query.edns) return;
  append_edns(out, kOwnUdpBytes, query.edns->dnssec_ok, high_rcode);
  set_count(out, kAdditionalCount, 1);
}

}  // namespace

std::optional<std::string> make_query(std::uint16_t id, const Question& question,
                                      std::uint16_t udp_bytes) {
  auto out = begin_query(id, kRecursionDesired, question);
  if (!out || udp_bytes == 0) return out;
  append_edns(*out, udp_bytes, false, 0);
  set_count(*out, kAdditionalCount, 1);
  return out;
}

std::string make_answer(std::string_view query_bytes, const Message& query, Rcode rcode,
                        std::span<const Record> records) {
  if (query.edns && query.edns->version != 0) {
    std::string out = begin_answer(query_bytes, query, 0);
    finish(out, query, kBadVersion);
    return out;
  }
  std::string out = begin_answer(query_bytes, query, static_cast<std::uint8_t>(rcode));
  std::size_t written = 0;
  for (const Record& record : records) {
    if (append_record(out, query, record)) ++written;
  }
  set_count(out, kAnswerCount, written);
  finish(out, query, 0);
  return out;
}

std::string make_truncated(std::string_view query_bytes, const Message& query) {
  std::string out = begin_answer(query_bytes, query, kTruncated);
  finish(out, query, 0);
  return out;
}

std::optional<std::string> make_format_error(std::string_view query_bytes) {
  if (query_bytes.size() < kHeaderBytes) return std::nullopt;
  const std::uint16_t flags = flags_of(query_bytes);
  if ((flags & kResponse) != 0) return std::nullopt;
  std::string out(query_bytes.substr(0, 2));
  append_word(out, kResponse | (flags & (kOpcode | kRecursionDesired)) |
                       static_cast<std::uint8_t>(Rcode::format_error));
  out.append(8, '\0');
  return out;
}

std::string framed(std::string_view message) {
  std::string out;
  out.reserve(message.size() + 2);
  append_word(out, message.size());
  out += message;
  return out;
}

std::optional<std::string_view> first_framed(std::string_view stream) {
  if (stream.size() < 2) return std::nullopt;
  const std::size_t size = static_cast<std::size_t>(static_cast<unsigned char>(stream[0])) << 8 |
                           static_cast<unsigned char>(stream[1]);
  if (stream.size() < 2 + size) return std::nullopt;
  return stream.substr(2, size);
}

}  // namespace shunt::dns
