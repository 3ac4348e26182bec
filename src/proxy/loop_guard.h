// SPDX-License-Identifier: GPL-2.0-only
// The third guard against loops, for when the mark does not help (a rule of somebody else's
// rewrites it, or the traffic comes back from another host): a flow whose source is one of our own
// upstream sockets is one that went out of here and came back in.
//
// One word for each local port, holding a hash of the address: a lookup is one load, and nothing is
// allocated. Two upstream sockets on one port with different addresses overwrite each other; the
// guard then misses one of them for that moment, and finds it one hop later.
//
// On loopback a looped connection can be accepted by another worker while connect() has not yet
// returned in the one that made it, so its port is not known. A flow from one of this machine's
// own addresses therefore waits for the connect() calls that are under way, some 30 us.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "egress/way_out.h"
#include "net/endpoint.h"

namespace shunt {

class LoopGuard final : public UpstreamObserver {
 public:
  /// Learns this machine's present addresses; those of later upstreams are added.
  LoopGuard();
  void opening() override;
  void not_opened() override;
  void opened(const Endpoint& local) override;
  void closed(const Endpoint& local) override;
  /// Whether a flow from here is our own upstream's. Any thread.
  [[nodiscard]] bool is_own(const Endpoint& source) const;

 private:
  static constexpr std::size_t kAddresses = 256;
  [[nodiscard]] bool matches(const Endpoint& source) const;
  void learn(const Address& address);
  [[nodiscard]] bool maybe_ours(const Address& address) const;

  std::array<std::atomic<std::uint32_t>, 65536> by_port_{};
  std::array<std::atomic<std::uint32_t>, kAddresses> our_addresses_{};
  std::atomic<std::uint64_t> connects_begun_ = 0;
  std::atomic<std::uint64_t> connects_over_ = 0;
};

}  // namespace shunt
