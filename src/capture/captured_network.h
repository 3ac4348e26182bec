// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "net/endpoint.h"

namespace shunt {

/// The network namespace whose traffic is captured, told from those that programs make themselves
/// (sandboxes, containers). What goes on inside of those is not captured. What leads out of one
/// without privilege is a program, whose own calls are captured; who has privilege over the
/// captured one may join the two, and what leaves by that is seen by nobody here.
class CapturedNetwork {
 public:
  CapturedNetwork() = default;
  /// `network` as network_of() says it; 0: all are taken for the captured one. `may_be_joined`: the
  /// programs have CAP_NET_ADMIN there.
  CapturedNetwork(std::uint64_t network, bool may_be_joined)
      : network_(network), may_be_joined_(may_be_joined) {}

  [[nodiscard]] bool has(int socket) const;
  /// Of a socket in another one: 0: what it sends to `destination` is let go; or the errno. Says so
  /// in the log.
  [[nodiscard]] int refusal(const Endpoint& destination) const;

 private:
  std::uint64_t network_ = 0;
  bool may_be_joined_ = false;
};

}  // namespace shunt
