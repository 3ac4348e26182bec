// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/serve.h"

#include <memory>
#include <optional>
#include <utility>

#include "base/counters.h"
#include "dns/message.h"
#include "net/socket.h"
#include "proxy/dial_flow.h"
#include "proxy/dns_tap.h"
#include "proxy/flow_tap.h"
#include "proxy/layered_relay.h"
#include "proxy/refusal.h"
#include "proxy/request_guard.h"
#include "proxy/serve_dns.h"

namespace shunt {
namespace {

void count_refusal(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::loop: return count(Counter::loops_refused);
    case ConnectReason::no_destination: return count(Counter::direct_dials_refused);
    case ConnectReason::rejected_by_rule: return count(Counter::flows_rejected);
    case ConnectReason::dropped_by_rule: return count(Counter::flows_dropped);
    default: return count(Counter::flows_refused);
  }
}

void record_refused(ServeContext& context, const Flow& flow, const ConnectFailure& failure) {
  count_refusal(failure.reason);
  context.log.flow_end(flow, FlowEnd{.reason = EndReason::refused,
                                     .failure = failure,
                                     .elapsed_ms = ms_since(flow.started)});
}

void turn_away(ServeContext& context, Captured& captured, const ConnectFailure& failure) {
  captured.client->refuse(failure);
  record_refused(context, captured.flow, failure);
}

void drop(ServeContext& context, Captured& captured, const ConnectFailure& failure) {
  context.dropped.take(captured.client->drop());
  record_refused(context, captured.flow, failure);
}

void deny(ServeContext& context, Captured& captured, const Verdict& verdict) {
  ConnectFailure failure{.reason = ConnectReason::rejected_by_rule, .os_error = 0, .detail = {}};
  if (verdict.kind == Verdict::Kind::reject) return turn_away(context, captured, failure);
  failure.reason = ConnectReason::dropped_by_rule;
  drop(context, captured, failure);
}

/// No way out could carry it.
void fail(ServeContext& context, Captured& captured, const Verdict& verdict,
          const ConnectFailure& failure) {
  if (!failure.via.empty()) captured.flow.way_out = failure.via;
  verdict.drop_if_all_fail ? drop(context, captured, failure)
                           : turn_away(context, captured, failure);
}

/// What resolvers answer is worth remembering.
bool teaches_names(const Flow& flow, const DecidedFlow& decided) {
  return flow.original_destination.port == dns::kPort && decided.names.memory != nullptr &&
         decided.policy->rules().uses(TermKey::host);
}

std::unique_ptr<Tap> tap_for(ServeContext& context, const Flow& flow, const DecidedFlow& decided) {
  auto guard = RequestGuard::create(decided, flow);
  std::unique_ptr<Tap> tap;
  if (context.observe_content || guard != nullptr) {
    tap = make_flow_tap(flow, context.log, std::move(guard));
  }
  if (!teaches_names(flow, decided)) return tap;
  return make_dns_tap(*decided.names.memory, flow, std::move(tap));
}

void record(ServeContext& context, const Flow& flow, const Outcome& outcome) {
  if (outcome.reason == EndReason::idle) count(Counter::flows_idle_ended);
  context.log.flow_end(flow, FlowEnd{.reason = outcome.reason,
                                     .failure = std::nullopt,
                                     .bytes_up = outcome.bytes_up,
                                     .bytes_down = outcome.bytes_down,
                                     .elapsed_ms = ms_since(flow.started)});
}

/// Where the destination is a fake address that stands for no name.
std::optional<ConnectFailure> fake_refusal(DnsService* dns, const Flow& flow) {
  if (dns == nullptr || !dns->is_fake(flow.original_destination.address)) return std::nullopt;
  Facts facts{.client = flow.source, .destination = flow.original_destination};
  const auto named = dns->name_destination(facts);
  if (named) return std::nullopt;
  return named.error();
}

Task<> answer_queries(ServeContext& context, Captured& captured, const DecidedFlow& decided) {
  captured.flow.way_out = DnsService::kName;
  FlowEnd end = co_await serve_dns(context.relay.loop, *decided.dns, captured, decided);
  if (end.failure) co_return record_refused(context, captured.flow, *end.failure);
  end.elapsed_ms = ms_since(captured.flow.started);
  context.log.flow_end(captured.flow, end);
}

/// Learns both ends of the flow, and logs its beginning; false: it was turned away.
Task<bool> introduce(ServeContext& context, Captured& captured) {
  std::expected<void, ConnectFailure> introduced;
  if (captured.introduction != nullptr) {
    introduced = co_await captured.introduction->learn(
        context.relay.loop, captured.client->peekable_fd(), captured.flow);
  }
  const Flow& flow = captured.flow;
  context.log.flow_start(flow);  // wants to know both ends
  std::optional<ConnectFailure> refusal;
  if (!introduced) refusal = introduced.error();
  if (!refusal) refusal = own_flow_refusal(flow, context.own_listeners, context.loop_guard);
  if (!refusal) refusal = fake_refusal(context.decide.dns, flow);
  if (refusal) turn_away(context, captured, *refusal);
  co_return !refusal;
}

/// Both ends of a flow that is carried.
struct Connected {
  Upstream upstream;
  LayeredRelay relay;
  WatchedFd client;
};

/// Dials, and lets the client in; nothing: the flow was turned away.
Task<std::optional<Connected>> connect(ServeContext& context, Captured& captured,
                                       const DecidedFlow& decided) {
  const Flow& flow = captured.flow;
  const WayOut& way_out = *decided.way_out();
  captured.flow.way_out = way_out.name();
  const Hints hints = decided.hints();
  auto upstream = co_await dial_flow(context.relay.loop, way_out, flow, hints);
  if (!upstream) {
    fail(context, captured, decided.verdict(), upstream.error());
    co_return std::nullopt;
  }
  if (!upstream->via.empty()) captured.flow.way_out = upstream->via;
  auto layered = LayeredRelay::create(context.relay, *upstream);
  if (!layered) {
    fail(context, captured, decided.verdict(), layered.error());
    co_return std::nullopt;
  }

  auto admitted = co_await captured.client->admit();
  if (!admitted) {
    record_refused(context, flow, admitted.error());
    co_return std::nullopt;
  }
  captured.client.reset();
  if (upstream->socket.valid()) keep_urgent_bytes_in_line(upstream->socket.fd());
  // Whether there is anything to read, epoll says in the same call that looks for other events.
  auto client = WatchedFd::create(context.relay.loop, std::move(*admitted), Slot::kWritable);
  if (!client) {  // closed by now, with a FIN: an epoll registration fails only for want of memory
    record_refused(context, flow, failure_from_errno(client.error().os_error));
    co_return std::nullopt;
  }
  co_return Connected{
      .upstream = std::move(*upstream), .relay = std::move(*layered), .client = std::move(*client)};
}

}  // namespace

// What a live flow keeps is scarce memory, thousands of times over: each step's own results are
// gone when the relay begins.
//
// The upstream is dialled before the client is let in, whether or not the client can still be told
// the result: so a held flow and an accepted one are one story. The client's socket enters epoll
// for good only then, which spares the flows that fail a system call.
Task<> serve(ServeContext& context, Captured& captured) {
  const Flow& flow = captured.flow;
  if (!co_await introduce(context, captured)) co_return;

  auto decided = co_await decide_flow(context.decide, captured);
  if (!decided) co_return record_refused(context, flow, decided.error());
  captured.flow.rule = decided->rule;
  if (decided->way_out() == nullptr) co_return deny(context, captured, decided->verdict());

  if (context.decide.dns != nullptr && DnsService::takes(flow)) {
    co_return co_await answer_queries(context, captured, *decided);
  }

  LiveFlows::Entry live(context.live, *decided);
  auto connected = co_await connect(context, captured, *decided);
  if (!connected) co_return;

  const auto tap = tap_for(context, flow, *decided);
  const Outcome outcome =
      co_await connected->relay.run(connected->client, connected->upstream, tap.get(), &live.ender);
  if (tap) tap->finish();  // says what it still knows before the closing line
  record(context, flow, outcome);
}

}  // namespace shunt
