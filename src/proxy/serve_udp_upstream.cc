// SPDX-License-Identifier: GPL-2.0-only
// The upstream's half of proxy/serve_udp.h: the life of one session.
#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "base/log.h"
#include "dns/limits.h"
#include "net/socket.h"
#include "proxy/dial_flow.h"
#include "proxy/dns_service.h"
#include "proxy/serve_udp.h"
#include "sniff/first_facts.h"
#include "sniff/tls.h"

namespace shunt {
namespace {

constexpr std::uint16_t kNtpPort = 123;

/// One question, one answer: nothing more is to come soon.
bool is_query(const Flow& flow) {
  const std::uint16_t port = flow.original_destination.port;
  return port == dns::kPort || port == kNtpPort;
}

/// What a client that sent directly would have been told; nothing where the fault is ours.
std::optional<Undeliverable> undeliverable(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::refused:
    case ConnectReason::rejected_by_rule:
    case ConnectReason::unsupported: return Undeliverable::port;
    case ConnectReason::host_unreachable:
    case ConnectReason::timed_out:
    case ConnectReason::reset:
    case ConnectReason::proxy_error: return Undeliverable::host;
    case ConnectReason::network_unreachable: return Undeliverable::network;
    case ConnectReason::denied: return Undeliverable::prohibited;
    case ConnectReason::loop:
    case ConnectReason::no_destination:
    case ConnectReason::dropped_by_rule:
    case ConnectReason::client_gone:
    case ConnectReason::bad_proxy_header:
    case ConnectReason::resources:
    case ConnectReason::cancelled: return std::nullopt;
  }
  return std::nullopt;
}

Counter counter_of(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::rejected_by_rule: return Counter::flows_rejected;
    case ConnectReason::dropped_by_rule: return Counter::flows_dropped;
    default: return Counter::flows_refused;
  }
}

ConnectFailure failure_of(ConnectReason reason) {
  return {.reason = reason, .os_error = 0, .detail = {}};
}

/// Asking again cannot help.
bool is_permanent(ConnectReason reason) {
  return reason == ConnectReason::unsupported || reason == ConnectReason::rejected_by_rule ||
         reason == ConnectReason::dropped_by_rule;
}

/// The ICMP error behind an errno of a connected socket (icmp_err_convert in net/ipv4/icmp.c and
/// icmpv6_err_convert in net/ipv6/icmp.c); nothing for the others.
std::optional<Undeliverable> undeliverable_from_errno(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ENOPROTOOPT: return Undeliverable::port;
    case EHOSTUNREACH: return Undeliverable::host;
    case ENETUNREACH: return Undeliverable::network;
    case EACCES: return Undeliverable::prohibited;
    case EMSGSIZE: return Undeliverable::too_big;
    default: return std::nullopt;
  }
}

/// Datagrams are sent to a name only where their destination stands for one.
Hints hints_of(const NameFact& name, DnsService* dns) {
  if (name.source != NameSource::fake_ip) return {};
  return {.host = name.name, .source = name.source, .resolver = dns};
}

/// Once in a process: without names hardly anything works, and no traffic line says what would
/// help.
void warn_of_lost_names(const Flow& flow, const ConnectFailure& failure) {
  static std::atomic_flag said;
  const bool query = flow.original_destination.port == dns::kPort;
  if (!query || failure.reason != ConnectReason::unsupported || said.test_and_set()) return;
  log(LogLevel::warning,
      fmt::format("names are not found: {} carries no UDP, and so no query of DNS. Use --dns "
                  "fake-ip (the proxy looks names up) or --dns remote --dns-server tcp://ADDRESS, "
                  "in a file: [dns] mode",
                  flow.way_out));
}

}  // namespace

// What a session is: decide it, find the way out, send what has waited for it, pass on what comes
// back. What the client sends meanwhile is the listener's business (forward()).
Task<> UdpServer::serve(Session session) {
  const Address client = session->flow.source.address;
  ++dialling_;
  table_.dial_began(*session);
  auto upstream = co_await associate(*session);
  --dialling_;
  table_.dial_ended(client);
  if (session->state == UdpSession::State::ended) co_return;
  if (session->state == UdpSession::State::answering) co_return answer_queued(*session);
  if (!upstream) {
    if (!upstream.error().via.empty()) session->flow.way_out = upstream.error().via;
    warn_of_lost_names(session->flow, upstream.error());
    const Verdict& verdict = session->policy->rules().verdict(session->flow.rule);
    refuse(*session, upstream.error(), verdict.drop_if_all_fail ? Tell::nobody : Tell::client);
    co_return;
  }
  if (!opened(*session, *std::move(upstream))) co_return;
  co_await serve_from(*session, 0);
}

Task<std::expected<UdpUpstream, ConnectFailure>> UdpServer::associate(UdpSession& session) {
  const UdpDecideContext context{.loop = loop_,
                                 .names = options_.names,
                                 .processes = options_.processes,
                                 .sniff_wait_ms = options_.sniff_wait_ms};
  if (options_.dns != nullptr) {
    auto named = options_.dns->name_destination(session.facts);
    if (!named) co_return std::unexpected(std::move(named).error());
  }
  const Hints hints = hints_of(session.facts.name, options_.dns);
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
    co_return UdpUpstream{};
  }
  session.flow.way_out = way_out->name();
  if (!way_out->carries_udp()) co_return std::unexpected(failure_of(ConnectReason::unsupported));
  co_return co_await associate_flow(loop_, *way_out, session.flow, hints);
}

bool UdpServer::opened(UdpSession& session, UdpUpstream upstream) {
  const int controls = static_cast<int>(upstream.controls.size());
  if (controls > 0 && options_.fds != nullptr) {
    if (!options_.fds->take_for_udp(controls)) {
      count(Counter::descriptors_short);
      refuse(session, {.reason = ConnectReason::resources, .os_error = EMFILE, .detail = {}});
      return false;
    }
    session.descriptors += controls;
  }
  session.upstream = std::move(upstream);
  if (!session.upstream.via.empty()) session.flow.way_out = session.upstream.via;
  session.state = UdpSession::State::open;
  const int fd = session.upstream.socket.fd();
  const auto local = local_endpoint(fd);
  if (local) session.upstream_family = local->address.family();
  tune_udp_receive(fd, session.upstream_family, !is_query(session.flow));
  if (session.quic) set_fragmentation(fd, session.upstream_family, false);
  renew(session);
  log_hello(session);

  // A fake address stands for one name, whatever the hello says.
  const bool fake =
      options_.dns != nullptr && options_.dns->is_fake(session.flow.original_destination.address);
  if (!fake && session.policy->rules().uses(TermKey::host)) {
    session.guard = std::make_unique<QuicGuard>(options_.names);
  }
  const auto queued = std::exchange(session.queued, {});
  if (queued.empty()) return true;
  datagrams_.clear();
  for (const auto& [payload, tos] : queued) {
    queued_bytes_ -= payload.size();
    datagrams_.push_back({payload, tos});
  }
  if (session.guard != nullptr) guard(session);
  if (session.state == UdpSession::State::open) send_up(session);
  return session.state == UdpSession::State::open;
}

Task<> UdpServer::serve_replies(UdpSession& session) {
  int batches = 0;
  while (session.state == UdpSession::State::open) {
    const Wake wake = co_await loop_.readable(session.upstream.socket.slot());
    if (session.state != UdpSession::State::open) co_return;
    if (wake != Wake::ready) {
      end(session, EndReason::shutdown);
      co_return;
    }
    Slot& slot = session.upstream.socket.slot();
    const int count = from_upstreams_->receive(session.upstream.socket.fd());
    if (count > 0) {
      take_replies(session, static_cast<std::size_t>(count));
      // recvmmsg() keeps an error that follows a datagram for the next call.
      if (from_upstreams_->drained() && !slot.has(Slot::kFailed)) slot.clear(Slot::kReadable);
    } else if (count == -EAGAIN) {
      slot.clear(Slot::kReadable | Slot::kFailed);
    } else {
      upstream_failed(session, -count);
    }
    if (++batches % limits::kUdpTurnBatches == 0) co_await loop_.yield();
  }
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as a chain of proxies
Task<> UdpServer::serve_from(UdpSession& session, std::size_t control) {
  if (control >= session.upstream.controls.size()) co_return co_await serve_replies(session);
  co_await both(serve_control(session, control), serve_from(session, control + 1));
}

// A proxy ends an association by closing the TCP connection it was asked for on (RFC 1928
// section 6). Nothing is to arrive on it: whatever does is the end, too.
Task<> UdpServer::serve_control(UdpSession& session, std::size_t index) {
  if (session.state != UdpSession::State::open) co_return;
  const Wake wake = co_await loop_.readable(session.upstream.controls[index].socket.slot());
  if (session.state != UdpSession::State::open) co_return;
  end(session, wake == Wake::ready ? EndReason::upstream_reset : EndReason::shutdown);
}

void UdpServer::take_replies(UdpSession& session, std::size_t count) {
  const UdpUpstream& upstream = session.upstream;
  datagrams_.clear();
  for (std::size_t i = 0; i < count; ++i) split((*from_upstreams_)[i], datagrams_);
  if (upstream.unwrap != nullptr) {
    std::erase_if(datagrams_, [&upstream](Datagram& datagram) {
      const auto payload = upstream.unwrap(upstream, datagram.payload);
      if (payload) datagram.payload = *payload;
      return !payload;
    });
  }
  if (datagrams_.empty()) return;
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
  renew(session);
}

SendOutcome UdpServer::reply(UdpSession& session) {
  if (session.listener == nullptr) {
    return replies_.send({.source = session.flow.original_destination,
                          .client = session.flow.source,
                          .fragment = !session.quic},
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
// with that; one that had goes on, as its server may come back.
void UdpServer::upstream_failed(UdpSession& session, int error) {
  const auto what = undeliverable_from_errno(error);
  if (!what) return;
  if (*what != Undeliverable::too_big) {
    report(session, *what);
    if (!session.replied) refuse(session, failure_from_errno(error));
    return;
  }
  if (!session.quic) return;  // the kernel has learnt the path's MTU and fragments from now on
  const std::uint32_t mtu = path_mtu(session.upstream.socket.fd(), session.upstream_family);
  const auto header = static_cast<std::uint32_t>(session.upstream.header.size());
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
  count(counter_of(failure.reason));
  log_end(session, EndReason::refused, &failure);
  const bool waiting = !session.queued.empty();
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
  if (options_.log == nullptr) return;
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
  const Session keep = *session.place;  // the table's may be the last reference
  if (session.state != UdpSession::State::refused) log_end(session, reason, nullptr);
  session.state = UdpSession::State::ended;
  loop_.timers().disarm(session.idle_timer);
  table_.remove(session);
  release(session);
}

/// Closes the sockets at once, whoever waits on them, and gives back what the session held.
void UdpServer::release(UdpSession& session) {
  if (session.upstream.socket.valid()) loop_.cancel(session.upstream.socket.slot());
  for (AssociationControl& control : session.upstream.controls) {
    loop_.cancel(control.socket.slot());
  }
  session.upstream = {};
  session.hello.reset();
  session.guard.reset();
  wake_decision(loop_, session);
  for (const auto& queued : std::exchange(session.queued, {})) {
    queued_bytes_ -= queued.payload.size();
  }
  if (options_.fds != nullptr) {
    options_.fds->give_back_udp(std::exchange(session.descriptors, 0));
  }
}

std::uint32_t UdpServer::timeout_of(const UdpSession& session) const {
  if (session.state == UdpSession::State::refused) return options_.refused_timeout_ms;
  if (closing_) return limits::kUdpDrainTimeoutMs;
  if (session.state == UdpSession::State::answering && !session.awaiting) {
    return limits::kDnsAnsweredMs;
  }
  if (is_query(session.flow) && session.replied && !session.awaiting) {
    return options_.answered_query_timeout_ms;
  }
  const bool answered = session.replied && !is_query(session.flow);
  return answered ? options_.replied_timeout_ms : options_.unreplied_timeout_ms;
}

void UdpServer::renew(UdpSession& session) {
  UdpTable::touch(session);
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
