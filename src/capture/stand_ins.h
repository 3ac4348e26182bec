// SPDX-License-Identifier: GPL-2.0-only
// Addresses of 127.64.0.0/10 that stand for destinations of datagrams, each for one. A program's
// socket sends to 127.64.x.y instead, where a UDP listener of shunt's takes it; from the address
// that a datagram came to it knows the destination, and it answers from there. So one listener
// tells all destinations of all sockets apart, connected ones too, whose later datagrams nobody
// sees leave.
//
// An address is not given to another destination before 4 million others were: a socket that is
// still connected to one that was forgotten loses its datagrams, rather than having them sent to a
// stranger. IPv6 has one loopback address only, so sockets of IPv6 send to ::ffff:127.64.x.y.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/lru_map.h"
#include "base/result.h"
#include "capture/call_limits.h"
#include "capture/plain_listeners.h"
#include "net/endpoint.h"
#include "net/unique_fd.h"

namespace shunt {

/// On one thread.
class StandIns final : public DatagramStandIns {
 public:
  explicit StandIns(CaptureMethod method, std::uint16_t port = 0,
                    std::size_t most = limits::kStandIns)
      : method_(method), port_(port), by_destination_(most) {}

  /// The listener for them, on lo alone. It also sets the port.
  Result<UniqueFd> listen();
  [[nodiscard]] std::uint16_t port() const { return port_; }

  /// The address that stands for `destination` from now on.
  Endpoint stand_in_for(const Endpoint& destination);
  [[nodiscard]] bool knows(const Endpoint& destination) {
    return by_destination_.find(destination) != nullptr;
  }
  std::optional<Endpoint> meant_by(const Endpoint& received_at) override;
  void add_client(const Endpoint& sender) { clients_.set(sender, true); }
  bool is_client(const Endpoint& sender) override { return clients_.find(sender) != nullptr; }
  [[nodiscard]] CaptureMethod method() const override { return method_; }

 private:
  CaptureMethod method_;
  std::uint16_t port_;
  LruMap<Endpoint, std::uint32_t, EndpointHash> by_destination_;
  std::unordered_map<std::uint32_t, Endpoint> by_number_;  // the same, the other way round
  LruMap<Endpoint, bool, EndpointHash> clients_{limits::kStandIns};
  std::uint32_t last_ = 0;
};

}  // namespace shunt
