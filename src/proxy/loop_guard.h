// SPDX-License-Identifier: GPL-2.0-only
// The third guard against loops, for when the mark does not help (a rule of somebody else's
// rewrites it, or the traffic comes back from another host): a flow whose source is one of our own
// upstream sockets is one that went out of here and came back in.
//
// One word for each local port, holding a hash of the address: a lookup is one load, and nothing is
// allocated. Two upstream sockets on one port with different addresses overwrite each other; the
// guard then misses one of them for that moment, and finds it one hop later.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "egress/way_out.h"
#include "net/endpoint.h"

namespace shunt {

class LoopGuard final : public UpstreamObserver {
 public:
  void opened(const Endpoint& local) override;
  void closed(const Endpoint& local) override;
  /// Whether a flow from here is our own upstream's. Any thread.
  [[nodiscard]] bool is_own(const Endpoint& source) const;

 private:
  std::array<std::atomic<std::uint32_t>, 65536> by_port_{};
};

}  // namespace shunt
