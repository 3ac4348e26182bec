// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/serve.h"

#include <sys/socket.h>

#include <algorithm>

#include "base/counters.h"
#include "base/limits.h"
#include "base/log.h"
#include "proxy/flow_tap.h"
#include "proxy/layered_relay.h"
#include "proxy/refusal.h"
#include "sniff/identify.h"

namespace shunt {
namespace {

std::uint32_t elapsed_ms(const Flow& flow) {
  const auto elapsed = Clock::now() - flow.started;
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count());
}

void count_refusal(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::loop: return count(Counter::loops_refused);
    case ConnectReason::no_destination: return count(Counter::direct_dials_refused);
    default: return count(Counter::flows_refused);
  }
}

void record_refused(ServeContext& context, const Flow& flow, const ConnectFailure& failure) {
  count_refusal(failure.reason);
  context.log.flow_end(
      flow,
      FlowEnd{.reason = EndReason::refused, .failure = failure, .elapsed_ms = elapsed_ms(flow)});
}

void turn_away(ServeContext& context, Captured& captured, const ConnectFailure& failure) {
  captured.client->refuse(failure);
  record_refused(context, captured.flow, failure);
}

/// What the client's first bytes say of a name, as far as they are here; nothing is taken.
NamePeek peek(ServeContext& context, int fd) {
  char* scratch = context.relay.scratch.get();
  const ssize_t got = ::recv(fd, scratch, std::min(peek_bytes(), limits::kScratchBytes), MSG_PEEK);
  if (got <= 0) return {.state = NamePeek::State::none};
  return peek_name({scratch, static_cast<std::size_t>(got)});
}

void note_silence(const Flow& flow) {
  count(Counter::sniff_waits_expired);
  static RateLimitedLog silent_clients;
  silent_clients.warn(flow.source.text() + " did not name its destination within the sniff wait: " +
                      flow.original_destination.text() + " goes by its address");
}

/// Waits for the client to say whom it wants, for sniff_wait_ms in all.
Task<Hints> await_name(ServeContext& context, const Captured& captured) {
  const int fd = captured.client->peekable_fd();
  if (fd < 0 || server_speaks_first(captured.flow.original_destination.port)) co_return Hints{};
  EventLoop& loop = context.relay.loop;
  const auto slot = loop.watch(fd, 0);
  if (!slot) co_return Hints{};
  NamePeek peeked;
  Wake wake = Wake::ready;
  const Clock::time_point deadline =
      Clock::now() + std::chrono::milliseconds(context.sniff_wait_ms);
  while (peeked.state == NamePeek::State::need_more) {
    (*slot)->clear(Slot::kReadable);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    wake = Wake::timeout;
    if (left.count() <= 0) break;
    wake = co_await loop.readable(**slot, static_cast<std::uint32_t>(left.count()));
    if (wake != Wake::ready) break;
    peeked = peek(context, fd);
    if ((*slot)->has(Slot::kPeerClosed)) break;  // no more will come
  }
  loop.unwatch(fd);
  if (wake == Wake::timeout) note_silence(captured.flow);
  if (peeked.state != NamePeek::State::match) co_return Hints{};
  co_return Hints{.host = std::move(peeked.name), .source = peeked.source};
}

void record(ServeContext& context, const Flow& flow, const Outcome& outcome) {
  if (outcome.reason == EndReason::idle) count(Counter::flows_idle_ended);
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

  captured.flow.way_out = context.way_out.name();
  Hints hints;
  if (context.way_out.wants_name()) hints = co_await await_name(context, captured);

  auto upstream = co_await context.way_out.connect(context.relay.loop, flow, hints);
  if (!upstream) co_return turn_away(context, captured, upstream.error());
  if (!upstream->via.empty()) captured.flow.way_out = upstream->via;

  auto layered = LayeredRelay::create(context.relay, *upstream);
  if (!layered) co_return turn_away(context, captured, layered.error());

  auto admitted = co_await captured.client->admit();
  if (!admitted) co_return record_refused(context, flow, admitted.error());
  auto client = WatchedFd::create(context.relay.loop, std::move(*admitted),
                                  Slot::kReadable | Slot::kWritable);
  if (!client) {  // closed by now, with a FIN: an epoll registration fails only for want of memory
    co_return record_refused(context, flow, failure_from_errno(client.error().os_error));
  }

  std::unique_ptr<Tap> tap;
  if (context.observe_content) tap = make_flow_tap(flow, context.log);
  const Outcome outcome = co_await layered->run(*client, *upstream, tap.get());
  if (tap) tap->finish();  // says what it still knows before the closing line
  record(context, flow, outcome);
}

}  // namespace shunt
