// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/serve.h"

#include "proxy/refusal.h"

namespace shunt {
namespace {

std::uint32_t elapsed_ms(const Flow& flow) {
  const auto elapsed = Clock::now() - flow.started;
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count());
}

void record_refused(ServeContext& context, const Flow& flow, const ConnectFailure& failure) {
  context.log.flow_end(flow, FlowEnd{.reason = EndReason::refused,
                                     .failure = failure,
                                     .elapsed_ms = elapsed_ms(flow)});
}

void turn_away(ServeContext& context, Captured& captured, const ConnectFailure& failure) {
  captured.client->refuse(failure);
  record_refused(context, captured.flow, failure);
}

void record(ServeContext& context, const Flow& flow, const Outcome& outcome) {
  context.log.flow_end(flow, FlowEnd{.reason = outcome.reason,
                                     .failure = std::nullopt,
                                     .bytes_up = outcome.bytes_up,
                                     .bytes_down = outcome.bytes_down,
                                     .elapsed_ms = elapsed_ms(flow)});
}

}  // namespace

// The upstream is dialled before the client is let in, whether or not the client can still be told
// the result: so a held flow and an accepted one are one story. The client's socket enters epoll
// only then, which spares the flows that fail a system call.
Task<> serve(ServeContext& context, Captured captured) {
  const Flow& flow = captured.flow;
  context.log.flow_start(flow);
  if (const auto refusal = own_flow_refusal(flow, context.own_listeners, context.loop_guard)) {
    co_return turn_away(context, captured, *refusal);
  }

  const Hints hints;
  auto upstream = co_await context.way_out.connect(context.relay.loop, flow, hints);
  if (!upstream) co_return turn_away(context, captured, upstream.error());

  auto admitted = co_await captured.client->admit();
  if (!admitted) co_return record_refused(context, flow, admitted.error());
  auto client = WatchedFd::create(context.relay.loop, std::move(*admitted),
                                  Slot::kReadable | Slot::kWritable);
  if (!client) {  // closed by now, with a FIN: an epoll registration fails only for want of memory
    co_return record_refused(context, flow, failure_from_errno(client.error().os_error));
  }

  std::unique_ptr<Tap> tap;
  const Outcome outcome = co_await relay(context.relay, *client, upstream->socket, tap.get(),
                                         std::move(upstream->early_data));
  tap.reset();  // says what it still knows before the closing line
  record(context, flow, outcome);
}

}  // namespace shunt
