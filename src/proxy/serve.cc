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

}  // namespace

// The upstream is dialled before the client is let in, whether or not the client can still be told
// the result: so a held flow and an accepted one are one story. The client's socket enters epoll
// for good only then, which spares the flows that fail a system call.
Task<> serve(ServeContext& context, Captured captured) {
  const Flow& flow = captured.flow;
  std::expected<void, ConnectFailure> introduced;
  if (captured.introduction != nullptr) {  // the log wants to know both ends
    introduced = co_await captured.introduction->learn(
        context.relay.loop, captured.client->peekable_fd(), captured.flow);
  }
  context.log.flow_start(flow);
  if (!introduced) co_return turn_away(context, captured, introduced.error());
  if (const auto refusal = own_flow_refusal(flow, context.own_listeners, context.loop_guard)) {
    co_return turn_away(context, captured, *refusal);
  }

  if (const auto refusal = fake_refusal(context.decide.dns, flow)) {
    co_return turn_away(context, captured, *refusal);
  }

  auto decided = co_await decide_flow(context.decide, captured);
  if (!decided) co_return record_refused(context, flow, decided.error());
  captured.flow.rule = decided->rule;
  const WayOut* way_out = decided->way_out();
  if (way_out == nullptr) co_return deny(context, captured, decided->verdict());

  if (context.decide.dns != nullptr && DnsService::takes(flow)) {
    co_return co_await answer_queries(context, captured, *decided);
  }

  LiveFlows::Entry live(context.live, *decided);
  captured.flow.way_out = way_out->name();
  const Hints hints = decided->hints();
  auto upstream = co_await dial_flow(context.relay.loop, *way_out, flow, hints);
  if (!upstream) co_return fail(context, captured, decided->verdict(), upstream.error());
  if (!upstream->via.empty()) captured.flow.way_out = upstream->via;
  auto layered = LayeredRelay::create(context.relay, *upstream);
  if (!layered) co_return fail(context, captured, decided->verdict(), layered.error());

  auto admitted = co_await captured.client->admit();
  if (!admitted) co_return record_refused(context, flow, admitted.error());
  tune_relayed_tcp(upstream->socket.fd());
  auto client = WatchedFd::create(context.relay.loop, std::move(*admitted),
                                  Slot::kReadable | Slot::kWritable);
  if (!client) {  // closed by now, with a FIN: an epoll registration fails only for want of memory
    co_return record_refused(context, flow, failure_from_errno(client.error().os_error));
  }

  const auto tap = tap_for(context, flow, *decided);
  const Outcome outcome = co_await layered->run(*client, *upstream, tap.get(), &live.ender);
  if (tap) tap->finish();  // says what it still knows before the closing line
  record(context, flow, outcome);
}

}  // namespace shunt
