// SPDX-License-Identifier: GPL-2.0-only
// A session's half of proxy/serve_udp.h: from its decision to its end.
#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "base/udp_limits.h"
#include "dns/limits.h"
#include "net/socket.h"
#include "proxy/dns_service.h"
#include "proxy/serve_udp.h"
#include "proxy/udp_failure.h"
#include "sniff/first_facts.h"
#include "sniff/tls.h"

namespace shunt {
namespace {

constexpr std::uint16_t kNtpPort = 123;

ConnectFailure failure_of(ConnectReason reason) {
  return {.reason = reason, .os_error = 0, .detail = {}};
}

/// Datagrams are sent to a name only where their destination stands for one.
Hints hints_of(const NameFact& name, DnsService* dns) {
  if (name.source != NameSource::fake_ip) return {};
  return {.host = name.name, .source = name.source, .resolver = dns};
}

}  // namespace

bool UdpServer::is_query(const Flow& flow) {
  const std::uint16_t port = flow.original_destination.port;
  return port == dns::kPort || port == kNtpPort;
}

// What a session is: decide it, find the way out, send what has waited for it by a mapping.
Task<> UdpServer::serve(Session session) {
  auto route = co_await decide(*session);
  if (session->state == UdpSession::State::ended) co_return;
  if (session->state == UdpSession::State::answering) co_return answer_queued(*session);
  if (!route) {
    refuse_as_decided(*session, route.error());
    co_return;
  }
  map(session, *std::move(route));
}

Task<std::expected<UdpServer::Route, ConnectFailure>> UdpServer::decide(UdpSession& session) {
  const Address client = session.flow.source.address;
  ++dialling_;
  table_.shares().dial_began(client);
  auto route = co_await find_route(session);
  --dialling_;
  table_.shares().dial_ended(client);
  co_return route;
}

Task<std::expected<UdpServer::Route, ConnectFailure>> UdpServer::find_route(UdpSession& session) {
  const UdpDecideContext context{.loop = loop_,
                                 .names = options_.names,
                                 .processes = options_.processes,
                                 .sniff_wait_ms = options_.sniff_wait_ms};
  if (options_.dns != nullptr) {
    auto named = options_.dns->name_destination(session.facts);
    if (!named) co_return std::unexpected(std::move(named).error());
  }
  Hints hints = hints_of(session.facts.name, options_.dns);
  co_await decide_session(context, session);
  if (!session.decided) co_return std::unexpected(failure_of(ConnectReason::cancelled));
  const WayOut* way_out =
      session.policy->carrier(session.flow.rule, session.flow.original_destination);
  if (way_out == nullptr) {
    const Verdict& verdict = session.policy->rules().verdict(session.flow.rule);
    const bool rejects = verdict.kind == Verdict::Kind::reject;
    co_return std::unexpected(
        failure_of(rejects ? ConnectReason::rejected_by_rule : ConnectReason::dropped_by_rule));
  }
  if (options_.dns != nullptr && DnsService::takes(session.flow)) {
    session.flow.way_out = DnsService::kName;
    session.state = UdpSession::State::answering;
    co_return Route{};
  }
  session.flow.way_out = way_out->name();
  if (!way_out->carries_udp()) co_return std::unexpected(failure_of(ConnectReason::unsupported));
  co_return Route{.way_out = way_out, .hints = std::move(hints)};
}

void UdpServer::refuse_as_decided(UdpSession& session, const ConnectFailure& failure) {
  if (!failure.via.empty()) session.flow.way_out = failure.via;
  warn_of_lost_names(session.flow, failure);
  const Verdict& verdict = session.policy->rules().verdict(session.flow.rule);
  refuse(session, failure, verdict.drop_if_all_fail ? Tell::nobody : Tell::client);
}

/// Its mapping is open.
void UdpServer::opened(UdpSession& session) {
  const UdpUpstream& upstream = session.mapping->upstream;
  if (!upstream.via.empty()) session.flow.way_out = upstream.via;
  if (upstream.relaying != nullptr) {
    session.header = upstream.relaying->header(upstream, session.flow.original_destination);
  }
  session.state = UdpSession::State::open;
  renew(session);
  log_hello(session);

  // A fake address stands for one name, whatever the hello says.
  const bool fake =
      options_.dns != nullptr && options_.dns->is_fake(session.flow.original_destination.address);
  if (!fake && session.policy->rules().uses(TermKey::host)) {
    session.guard = std::make_unique<QuicGuard>(options_.names);
  }
  send_queued(session);
}

/// What came meanwhile from the client, and what came from its peer.
void UdpServer::send_queued(UdpSession& session) {
  const auto queued = take_queued(session);
  for (const bool to_client : {false, true}) {
    datagrams_.clear();
    for (const auto& datagram : queued) {
      if (datagram.to_client == to_client) datagrams_.push_back({datagram.payload, datagram.tos});
    }
    if (datagrams_.empty() || session.state != UdpSession::State::open) continue;
    if (to_client) {
      deliver(session);
      continue;
    }
    if (session.guard != nullptr) guard(session);
    if (session.state == UdpSession::State::open) send_up(session);
  }
}

/// Sends datagrams_ to the client.
void UdpServer::deliver(UdpSession& session) {
  if (session.dns != nullptr) {
    for (const Datagram& datagram : datagrams_) session.dns->answered(datagram.payload);
  }
  const SendOutcome outcome = reply(session);
  session.replied = true;
  session.awaiting = false;
  session.datagrams_down += outcome.datagrams;
  session.bytes_down += outcome.bytes;
  if (outcome.datagrams < datagrams_.size()) {
    shunt::count(Counter::udp_datagrams_dropped, datagrams_.size() - outcome.datagrams);
  }
  // Peers alone keep nothing alive (RFC 4787 REQ-6).
  if (!session.unsolicited) renew(session);
}

SendOutcome UdpServer::reply(UdpSession& session) {
  if (session.listener == nullptr) {
    return replies_.send({.source = session.flow.original_destination,
                          .client = session.flow.source,
                          .fragment = !session.quic,
                          .hairpin = session.hairpin},
                         datagrams_);
  }
  const Family family = session.listener->family;
  const SocketAddress to(session.sender, family);
  SendTarget target{.fd = session.listener->fd.fd(),
                    .family = family,
                    .to = &to,
                    .from = &session.flow.received_at.address,
                    .header = {},
                    .trains = &session.trains_down};
  return sender_.send(target, datagrams_);
}

// Where the client would have been told by ICMP, it is. A session that never had an answer ends
// with that; one that had goes on, as its server may come back. `mtu`: with EMSGSIZE, where known.
void UdpServer::upstream_failed(UdpSession& session, int error, std::uint32_t mtu) {
  const auto what = undeliverable_from_errno(error);
  if (!what) return;
  if (*what != Undeliverable::too_big) {
    report(session, *what);
    if (!session.replied) refuse(session, failure_from_errno(error));
    return;
  }
  if (!session.quic) return;  // the kernel has learnt the path's MTU and fragments from now on
  const UdpMapping& by = *session.mapping;
  if (mtu == 0) mtu = path_mtu(by.upstream.socket.fd(), by.socket_family);
  const auto header =
      static_cast<std::uint32_t>(by.shared ? session.header.size() : by.upstream.header.size());
  if (mtu > header) report(session, Undeliverable::too_big, mtu - header);
}

void UdpServer::report(const UdpSession& session, Undeliverable what, std::uint32_t mtu) {
  const bool plain = session.listener != nullptr && session.listener->plain != nullptr;
  if (plain) return;  // its sender may be a proxy, and sent to shunt itself
  const Flow& flow = session.flow;
  replies_.report(what, flow.source,
                  session.listener == nullptr ? flow.original_destination : flow.received_at, mtu);
}

// The session stays for a moment without a socket: each of its datagrams would be a new attempt.
// They are answered as the one that caused this was (forward()).
void UdpServer::refuse(UdpSession& session, const ConnectFailure& failure, Tell tell) {
  if (failure.reason == ConnectReason::cancelled) return end(session, EndReason::shutdown);
  count(counter_of_refusal(failure.reason));
  log_end(session, EndReason::refused, &failure);
  const bool waiting = !take_queued(session).empty();
  release(session);
  session.state = UdpSession::State::refused;
  session.permanent = is_permanent(failure.reason);
  if (tell == Tell::client) session.refusal = undeliverable(failure.reason);
  if (session.refusal && waiting) report(session, *session.refusal);
  renew(session);
}

/// Once it is complete, and the session is decided.
void UdpServer::log_hello(UdpSession& session) const {
  using State = QuicHelloReader::State;
  if (session.hello == nullptr || session.hello->state() == State::need_more) return;
  const auto reader = std::exchange(session.hello, nullptr);
  learn_quic_hello(*reader, session.facts);  // for rules to come
  if (options_.log == nullptr || !options_.observe_content) return;
  if (reader->state() != State::complete) return;
  auto hello = parse_client_hello(reader->body());
  if (!hello) return;
  options_.log->tls_hello(session.flow, {.server_name = std::move(hello->server_name),
                                         .alpn_offered = std::move(hello->alpn),
                                         .alpn_chosen = {},
                                         .version = 0,
                                         .ech = hello->ech});
}

void UdpServer::log_end(const UdpSession& session, EndReason reason,
                        const ConnectFailure* failure) {
  if (options_.log == nullptr || !session.started) return;
  FlowEnd last{.reason = reason,
               .failure = std::nullopt,
               .bytes_up = session.bytes_up,
               .bytes_down = session.bytes_down,
               .datagrams_up = session.datagrams_up,
               .datagrams_down = session.datagrams_down,
               .elapsed_ms = ms_since(session.flow.started)};
  if (failure != nullptr) last.failure = *failure;
  options_.log->flow_end(session.flow, last);
}

void UdpServer::end(UdpSession& session, EndReason reason) {
  if (session.state == UdpSession::State::ended) return;
  const Session keep = *session.share.place;  // the table's may be the last reference
  if (session.state != UdpSession::State::refused) log_end(session, reason, nullptr);
  session.state = UdpSession::State::ended;
  loop_.timers().disarm(session.idle_timer);
  (void)take_queued(session);
  table_.remove(session);
  release(session);
}

/// Gives back what the session held.
void UdpServer::release(UdpSession& session) {
  session.hello.reset();
  session.guard.reset();
  wake_decision(loop_, session);
  detach(session);
}

std::uint32_t UdpServer::timeout_of(const UdpSession& session) const {
  const UdpTimeouts& timeouts = options_.nat.timeouts;
  if (session.state == UdpSession::State::refused) return options_.refused_timeout_ms;
  if (closing_) return limits::kUdpDrainTimeoutMs;
  if (session.state == UdpSession::State::answering && !session.awaiting) {
    return limits::kDnsAnsweredMs;
  }
  if (is_query(session.flow) && session.replied && !session.awaiting) {
    return timeouts.query;
  }
  if (!session.replied || is_query(session.flow)) return timeouts.unanswered;
  return session.quic ? timeouts.quic : timeouts.answered;
}

void UdpServer::renew(UdpSession& session) {
  UdpTable::Shares::touch(session);
  loop_.timers().arm(session.idle_timer, loop_.in(timeout_of(session)));
}

void UdpServer::idle(Timer& timer) {
  UdpSession& session = *static_cast<UdpSession::IdleTimer&>(timer).session;
  UdpServer& self = session.server;
  if (self.closing_ || self.loop_.cancelled()) return self.end(session, EndReason::shutdown);
  const bool answered = is_query(session.flow) && session.replied && !session.awaiting;
  if (!answered && session.state == UdpSession::State::open) count(Counter::flows_idle_ended);
  self.end(session, answered ? EndReason::closed : EndReason::idle);
}

}  // namespace shunt
