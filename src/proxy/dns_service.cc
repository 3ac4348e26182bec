// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_service.h"

#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "base/counters.h"
#include "base/escape.h"
#include "base/limits.h"
#include "dns/limits.h"
#include "egress/sendable_name.h"

namespace shunt {
namespace {

using dns::Rcode;

constexpr std::size_t kLoggedAddresses = 8;

/// A server that may know the names of the network around.
bool is_near(const Address& address) {
  return address.is_private() || address.is_loopback() || address.is_link_local();
}

void tell_answer(std::string_view bytes, DnsAnswer& told) {
  const auto answer = dns::parse(bytes);
  if (!answer) return;
  told.rcode = answer->rcode;
  for (const dns::Resolved& resolved : dns::resolved_addresses(*answer)) {
    if (told.addresses.size() < kLoggedAddresses) told.addresses.push_back(resolved.address);
  }
}

std::uint16_t random_id() {
  std::uint16_t id = 0;
  (void)::getrandom(&id, sizeof id, 0);
  return id;
}

}  // namespace

/// Counts a query of a client for as long as it lives.
struct DnsService::Asked {
  Asked(DnsService& the_service, const Address& the_client)
      : service(the_service), client(the_client) {
    const std::size_t mine = ++service.under_way_[client];
    ++service.all_under_way_;
    fits = mine <= limits::kDnsQueriesOfClient && service.all_under_way_ <= limits::kDnsQueries;
  }
  ~Asked() {
    --service.all_under_way_;
    const auto found = service.under_way_.find(client);
    if (--found->second == 0) service.under_way_.erase(found);
  }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
  DnsService& service;
  Address client;
  bool fits = false;
};

DnsService::DnsService(EventLoop& loop, const DnsSettings& settings, const CurrentPolicy& policy,
                       FlowLog& log, DnsStream::Start start)
    : loop_(loop), settings_(settings), policy_(policy), log_(log) {
  if (settings.server) {
    stream_.emplace(loop, settings.server->endpoint, settings.tls, std::move(start));
  }
}

void DnsService::drain() {
  if (stream_) stream_->drain();
}

Task<std::optional<std::string>> DnsService::answer(DnsRequest request) {
  const auto query = dns::parse(request.bytes);
  if (!query) co_return dns::make_format_error(request.bytes);
  if (query->response) co_return std::nullopt;
  const Asked asked(*this, request.flow.source.address);
  DnsAnswer told{.name = query->question.name,
                 .type = query->question.type,
                 .rcode = 0,
                 .addresses = {},
                 .fake = false};
  std::string answer;
  if (query->opcode != 0) {
    answer = dns::make_answer(request.bytes, *query, Rcode::not_implemented);
  } else if (query->question.dns_class != dns::kInternet) {
    answer = dns::make_answer(request.bytes, *query, Rcode::refused);
  } else if (!asked.fits) {
    count(Counter::dns_queries_refused);
    answer = dns::make_answer(request.bytes, *query, Rcode::server_failure);
  } else {
    answer = co_await answer_query(request, *query, told);
  }
  tell_answer(answer, told);
  log_.dns_answer(request.flow, told);
  const bool too_long =
      request.flow.protocol == Protocol::udp && answer.size() > dns::udp_capacity(*query);
  if (too_long) co_return dns::make_truncated(request.bytes, *query);
  co_return answer;
}

Task<std::string> DnsService::answer_query(const DnsRequest& request, const dns::Message& query,
                                           DnsAnswer& told) {
  if (settings_.pool != nullptr) {
    if (auto fake = fake_answer(request, query, told)) co_return *std::move(fake);
  }
  const bool near =
      is_local_name(query.question.name) && is_near(request.flow.original_destination.address);
  std::optional<std::string> answer;
  if (near || !settings_.server) {
    answer = co_await ask_clients_server(request, query);
  } else {
    answer = co_await ask_own_server(policy_.get(), {.bytes = request.bytes, .query = query});
  }
  if (answer) co_return answer_for(*std::move(answer), request.bytes, query);
  count(Counter::dns_questions_failed);
  co_return dns::make_answer(request.bytes, query, Rcode::server_failure);
}

bool DnsService::fakes(const std::string& name) const {
  return !is_local_name(name) && !settings_.real->match(name) && sendable_name(name) == name;
}

/// Empty: it is not for fake addresses to answer.
std::optional<std::string> DnsService::fake_answer(const DnsRequest& request,
                                                   const dns::Message& query, DnsAnswer& told) {
  const auto& [name, type, dns_class] = query.question;
  if (type == dns::type::kPtr) {
    const auto address = dns::reverse_address(name);
    if (!address || !settings_.pool->contains(*address)) return std::nullopt;
    return reverse_answer(request, query, *address);
  }
  if (!fakes(name)) return std::nullopt;
  switch (type) {
    case dns::type::kSvcb:
    case dns::type::kHttps: return dns::make_answer(request.bytes, query, Rcode::no_error);
    case dns::type::kA:
    case dns::type::kAaaa:
    case dns::type::kAny: break;
    default: return std::nullopt;
  }
  const Family family = type == dns::type::kAaaa ? Family::ipv6 : Family::ipv4;
  if (!settings_.pool->has(family)) {
    return dns::make_answer(request.bytes, query, Rcode::no_error);
  }
  const auto address = settings_.pool->give(name, family, Clock::now());
  if (!address) return dns::make_answer(request.bytes, query, Rcode::server_failure);
  told.fake = true;
  const dns::Record record{.owner = name,
                           .type = family == Family::ipv4 ? dns::type::kA : dns::type::kAaaa,
                           .ttl_s = limits::kFakeTtlS,
                           .address = *address};
  return dns::make_answer(request.bytes, query, Rcode::no_error, {&record, 1});
}

std::string DnsService::reverse_answer(const DnsRequest& request, const dns::Message& query,
                                       const Address& address) {
  const auto name = settings_.pool->name_of(address, Clock::now());
  if (!name) return dns::make_answer(request.bytes, query, Rcode::name_error);
  const dns::Record record{.owner = query.question.name,
                           .type = dns::type::kPtr,
                           .ttl_s = limits::kFakeTtlS,
                           .address = {},
                           .target = *name};
  return dns::make_answer(request.bytes, query, Rcode::no_error, {&record, 1});
}

Task<std::optional<std::string>> DnsService::ask_clients_server(const DnsRequest& request,
                                                                const dns::Message& query) {
  co_return co_await ask_once(loop_, *request.carrier, request.flow,
                              {.bytes = request.bytes, .query = query},
                              Deadline(limits::kDnsTimeoutMs));
}

Task<std::optional<std::string>> DnsService::ask_own_server(std::shared_ptr<const Policy> policy,
                                                            DnsQuestion question) {
  if (auto known = cache_.find(question.bytes, question.query, Clock::now())) {
    co_return known;
  }
  std::optional<std::string> answer;
  const WayOut* way_out = policy->for_dns();
  const bool by_datagram = settings_.server->transport == DnsServerAddress::Transport::udp &&
                           way_out != nullptr && way_out->carries_udp();
  if (by_datagram) {
    Flow flow;
    flow.protocol = Protocol::udp;
    flow.original_destination = settings_.server->endpoint;
    answer =
        co_await ask_by_datagram(loop_, *way_out, flow, question, Deadline(limits::kDnsTimeoutMs));
  }
  const bool truncated = answer && dns::parse(*answer)->truncated;
  if (truncated || !by_datagram) answer = co_await stream_->ask(policy, question);
  if (answer) {
    if (const auto parsed = dns::parse(*answer)) {
      cache_.store(question.query, *answer, *parsed, Clock::now());
    }
  }
  co_return answer;
}

bool DnsService::is_fake(const Address& address) const {
  return settings_.pool != nullptr && settings_.pool->contains(address);
}

std::expected<void, ConnectFailure> DnsService::name_destination(Facts& facts) {
  const Address& address = facts.destination.address;
  if (!is_fake(address)) return {};
  auto name = settings_.pool->name_of(address, Clock::now());
  if (!name) {
    count(Counter::fake_addresses_unknown);
    return std::unexpected(
        ConnectFailure{.reason = ConnectReason::host_unreachable,
                       .os_error = 0,
                       .detail = "a fake address that stands for no name any more"});
  }
  facts.name = {.state = FactState::known,
                .name = *std::move(name),
                .source = NameSource::none,
                .verified = true};
  return {};
}

Task<> DnsService::look_up(std::string name, std::uint16_t type, std::vector<Address>& into) {
  const auto bytes =
      dns::make_query(random_id(), {.name = std::move(name), .type = type}, dns::kOwnUdpBytes);
  const auto query = bytes ? dns::parse(*bytes) : std::nullopt;
  if (!query) co_return;
  const auto answer = co_await ask_own_server(policy_.get(), {.bytes = *bytes, .query = *query});
  const auto parsed = answer ? answer_to(*answer, query->question) : std::nullopt;
  if (!parsed) co_return;
  for (const dns::Resolved& resolved : dns::resolved_addresses(*parsed)) {
    const Address& address = resolved.address;
    const bool usable = !address.is_any() && !address.is_multicast() && !is_fake(address);
    if (usable && into.size() < limits::kAddressesOfName) into.push_back(address);
  }
}

Task<std::expected<std::vector<Address>, ConnectFailure>> DnsService::resolve(
    const std::string& name) {
  std::vector<Address> addresses;
  std::vector<Address> v4;
  if (can_resolve()) {
    co_await both(look_up(name, dns::type::kAaaa, addresses), look_up(name, dns::type::kA, v4));
  }
  addresses.insert(addresses.end(), v4.begin(), v4.end());
  if (addresses.empty()) {
    const bool unknown = can_resolve();
    co_return std::unexpected(ConnectFailure{
        .reason = ConnectReason::host_unreachable,
        .os_error = 0,
        .detail =
            (unknown ? "no address was found for " : "no server is there to look up ") + name});
  }
  co_return addresses;
}

}  // namespace shunt
