// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <expected>
#include <memory>

#include "egress/layer_pump.h"
#include "relay/relay.h"

namespace shunt {

/// relay() for an upstream that may have a layer (TLS to a proxy) above its socket. Without one it
/// is relay() itself and costs nothing; with one, a pump runs beside it, and the two descriptors of
/// its socket pair come out of the worker's allowance.
class LayeredRelay {
 public:
  /// Takes the layer off `upstream` where there is one, with the socket. Fails for want of
  /// descriptors.
  static std::expected<LayeredRelay, ConnectFailure> create(RelayResources& resources,
                                                            Upstream& upstream);
  LayeredRelay(LayeredRelay&& other) noexcept = default;
  LayeredRelay& operator=(LayeredRelay&&) = delete;
  ~LayeredRelay();

  /// `upstream` is the one of create(); as relay() otherwise.
  Task<Outcome> run(WatchedFd& client, Upstream& upstream, Tap* tap, RelayEnder* ender = nullptr);

 private:
  static constexpr int kDescriptors = 2;

  LayeredRelay(RelayResources& resources, std::unique_ptr<LayerPump> pump)
      : resources_(&resources), pump_(std::move(pump)) {}
  Task<Outcome> run_layered(WatchedFd& client, std::string early, Tap* tap, RelayEnder* ender);
  Task<> relay_beside(WatchedFd& client, std::string early, Tap* tap, RelayEnder* ender,
                      Outcome& outcome);

  RelayResources* resources_;
  std::unique_ptr<LayerPump> pump_;  // null: there is no layer
};

}  // namespace shunt
