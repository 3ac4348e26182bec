// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <vector>

#include "flow/flow.h"
#include "net/endpoint.h"

namespace shunt {

/// What becomes of a program's traffic to a destination, where its calls are trapped.
enum class Course : std::uint8_t {
  captured,
  native,   ///< ends on this machine: as the program asked
  refused,  ///< multicast and broadcast, which no way out carries
};

/// On one thread.
class Courses {
 public:
  /// `name_servers` are loopback addresses whose port 53 is captured all the same. `through_proxy`:
  /// an upstream proxy knows more of the world than this machine's routes.
  Courses(std::vector<Address> name_servers, bool through_proxy)
      : name_servers_(std::move(name_servers)), through_proxy_(through_proxy) {}

  /// Asks the kernel for this machine's addresses (rtnetlink(7)), at most once in
  /// limits::kOwnAddressesMs: an address that is new counts as somebody else's for so long.
  [[nodiscard]] Course of(const Endpoint& destination);
  /// Why connect(2) of a UDP socket would fail at once, for want of a route; 0: it would not. The
  /// C library sorts the addresses of a name by that (RFC 6724). Connects one.
  [[nodiscard]] int unreachable(const Endpoint& destination) const;

 private:
  void look_at_addresses();

  std::vector<Address> name_servers_;
  bool through_proxy_;
  std::vector<Address> own_;         // sorted, as the next
  std::vector<Address> broadcasts_;  // of the networks that this machine is in
  Clock::time_point looked_at_ = Clock::time_point::min();
};

}  // namespace shunt
