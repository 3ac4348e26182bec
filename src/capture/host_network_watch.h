// SPDX-License-Identifier: GPL-2.0-only
// Notices that the host's network has changed: a laptop finds its Wi-Fi, a VPN comes up. Changes
// come in bursts (an address, then its routes), so it looks a moment after the last of them.
#pragma once

#include <chrono>
#include <optional>

#include "capture/host_network.h"
#include "kernel/netlink.h"

namespace shunt {

class HostNetworkWatch {
 public:
  static constexpr int kSettleMs = 200;

  /// Watches the calling thread's network namespace; `known` is how it was seen there before, with
  /// the same `through_proxy` (capture/host_network.h).
  static Result<HostNetworkWatch> create(HostNetwork known, bool through_proxy);

  [[nodiscard]] int fd() const { return events_.fd(); }
  /// How long from now until changed() should be called though fd() is not readable; -1: never.
  [[nodiscard]] int timeout_ms() const;
  /// To be called when fd() is readable or the time has passed: what the host's network is like
  /// now, when that is not what it was.
  std::optional<HostNetwork> changed();

 private:
  HostNetworkWatch(NetlinkSocket events, HostNetwork known, bool through_proxy)
      : events_(std::move(events)), known_(std::move(known)), through_proxy_(through_proxy) {}

  NetlinkSocket events_;
  HostNetwork known_;
  bool through_proxy_;
  std::optional<std::chrono::steady_clock::time_point> due_;
};

}  // namespace shunt
