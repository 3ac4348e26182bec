// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_service.h"

#include <algorithm>
#include <coroutine>
#include <utility>

#include "base/counters.h"
#include "base/escape.h"
#include "base/limits.h"
#include "dns/edns.h"
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

/// A question to the own server, and all who have it.
struct DnsService::SharedQuestion {
  std::optional<std::string> answer;  ///< without EDNS
  bool done = false;
  std::vector<std::coroutine_handle<>> waiting;

  struct Answered {
    SharedQuestion& shared;
    bool await_ready() const { return shared.done; }
    void await_suspend(std::coroutine_handle<> handle) { shared.waiting.push_back(handle); }
    void await_resume() const {}
  };
};

DnsService::DnsService(EventLoop& loop, const DnsSettings& settings, const CurrentPolicy& policy,
                       FlowLog& log, DnsSurroundings around)
    : loop_(loop), settings_(settings), policy_(policy), log_(log), around_(std::move(around)) {
  if (settings.server) {
    stream_.emplace(loop, settings.server->endpoint, settings.tls, around_.start);
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
  } else if (query->edns && query->edns->version != 0) {
    answer = dns::make_answer(request.bytes, *query, Rcode::no_error);  // which says BADVERS
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
  if (!told.fake) remember(request, answer);
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
  std::optional<std::string> answer;
  if (knows_nearer(request, query)) {
    answer = co_await ask_clients_server(request, query);
  } else {
    answer = co_await ask_own_server(policy_.get(), {.bytes = request.bytes, .query = query});
  }
  if (answer) co_return answer_for(*std::move(answer), request.bytes, query);
  count(Counter::dns_questions_failed);
  co_return dns::make_answer(request.bytes, query, Rcode::server_failure);
}

/// The client's own server is who knows.
bool DnsService::knows_nearer(const DnsRequest& request, const dns::Message& query) const {
  const bool near =
      is_local_name(query.question.name) && is_near(request.flow.original_destination.address);
  return near || !settings_.server;
}

/// As what passes by is remembered (proxy/dns_watch.h), by who it was that answered. A fake address
/// has its name in the pool.
void DnsService::remember(const DnsRequest& request, std::string_view bytes) const {
  if (around_.memory == nullptr || !request.policy->rules().uses(TermKey::host)) return;
  const auto answer = dns::parse(bytes);
  if (!answer) return;
  const Address& resolver = knows_nearer(request, *answer)
                                ? request.flow.original_destination.address
                                : settings_.server->endpoint.address;
  around_.memory->learn(request.flow.source.address, resolver, *answer);
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

/// Equal questions at the same time are one: each more would be another chance for a false answer
/// (RFC 5452 section 5). Whoever asks it first waits for the server, with a deadline; the others
/// wait for that.
Task<std::optional<std::string>> DnsService::ask_own_server(std::shared_ptr<const Policy> policy,
                                                            DnsQuestion question) {
  if (auto known = cache_.find(question.bytes, question.query, Clock::now())) {
    co_return dns::with_edns_for(*std::move(known), question.query);
  }
  const auto bytes = dns::forwarded_query(0, question.query);
  if (!bytes) co_return std::nullopt;
  const auto [place, first] = shared_.try_emplace(*bytes);
  if (first) place->second = std::make_shared<SharedQuestion>();
  const std::shared_ptr<SharedQuestion> shared = place->second;
  if (first) {
    co_await ask_for_all(std::move(policy), *bytes, *shared);
  } else {
    co_await SharedQuestion::Answered{*shared};
  }
  if (!shared->answer) co_return std::nullopt;
  co_return dns::with_edns_for(*shared->answer, question.query);
}

Task<> DnsService::ask_for_all(std::shared_ptr<const Policy> policy, const std::string& bytes,
                               SharedQuestion& shared) {
  if (const auto query = dns::parse(bytes)) {
    auto answer = co_await ask_server(std::move(policy), {.bytes = bytes, .query = *query});
    const auto parsed = answer ? dns::parse(*answer) : std::nullopt;
    // What OPT adds to the rcode speaks of EDNS between the two, not of the question.
    if (parsed && !(parsed->edns && parsed->edns->high_rcode != 0)) {
      shared.answer = dns::without_edns(*std::move(answer));
      cache_.store(*query, *shared.answer, *parsed, Clock::now());
    }
  }
  shared_.erase(bytes);
  shared.done = true;
  for (const std::coroutine_handle<> waiting : shared.waiting) {
    loop_.post([waiting] { waiting.resume(); });
  }
}

Task<std::optional<std::string>> DnsService::ask_server(std::shared_ptr<const Policy> policy,
                                                        DnsQuestion question) {
  const Deadline deadline(limits::kDnsTimeoutMs);
  std::optional<std::string> answer;
  const WayOut* way_out = policy->for_dns();
  const bool by_datagram = settings_.server->transport == DnsServerAddress::Transport::udp &&
                           way_out != nullptr && way_out->carries_udp();
  if (by_datagram) {
    Flow flow;
    flow.protocol = Protocol::udp;
    flow.original_destination = settings_.server->endpoint;
    answer = co_await ask_by_datagram(loop_, *way_out, flow, question, deadline);
  }
  const bool truncated = answer && dns::parse(*answer)->truncated;
  if (truncated || !by_datagram) answer = co_await stream_->ask(policy, question, deadline);
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
                .source = NameSource::fake_ip,
                .verified = true};
  return {};
}

}  // namespace shunt
