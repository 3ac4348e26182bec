// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/layered_relay.h"

#include <cerrno>
#include <utility>

#include "net/socket.h"

namespace shunt {

std::expected<LayeredRelay, ConnectFailure> LayeredRelay::create(RelayResources& resources,
                                                                 Upstream& upstream) {
  if (upstream.layer == nullptr) return LayeredRelay(resources, nullptr);
  if (!resources.allowance.take_for_pipe(kDescriptors)) {
    return std::unexpected(failure_from_errno(EMFILE));
  }
  tune_relayed_tcp(upstream.socket.fd());
  std::string early = std::exchange(upstream.early_data, {});
  auto pump = LayerPump::create(resources.loop, std::move(upstream));
  upstream.early_data = std::move(early);
  if (!pump) {
    resources.allowance.give_back(kDescriptors);
    return std::unexpected(std::move(pump).error());
  }
  return LayeredRelay(resources, std::move(*pump));
}

LayeredRelay::~LayeredRelay() {
  if (pump_ == nullptr) return;
  pump_.reset();
  resources_->allowance.give_back(kDescriptors);
}

Task<> LayeredRelay::relay_beside(WatchedFd& client, std::string early, Tap* tap, RelayEnder* ender,
                                  Outcome& outcome) {
  outcome = co_await relay(*resources_, client, pump_->near_end(), tap, std::move(early), ender);
  pump_->relay_ended(outcome.reason == EndReason::closed);
}

// No coroutine of its own where there is no layer: its frame would live as long as the flow.
Task<Outcome> LayeredRelay::run(WatchedFd& client, Upstream& upstream, Tap* tap,
                                RelayEnder* ender) {
  std::string early = std::move(upstream.early_data);
  if (pump_ != nullptr) return run_layered(client, std::move(early), tap, ender);
  return relay(*resources_, client, upstream.socket, tap, std::move(early), ender);
}

Task<Outcome> LayeredRelay::run_layered(WatchedFd& client, std::string early, Tap* tap,
                                        RelayEnder* ender) {
  Outcome outcome;
  co_await both(relay_beside(client, std::move(early), tap, ender, outcome), pump_->run());
  // What the relay took for an orderly end may not have been one; the client's FIN goes out with
  // close(), so a reset can still take its place.
  if (pump_->upstream_broke() && outcome.reason == EndReason::closed) {
    reset_on_close(client.fd());
    outcome.reason = EndReason::upstream_reset;
  }
  co_return outcome;
}

}  // namespace shunt
