// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <vector>

#include "net/endpoint.h"

namespace shunt::load {

inline constexpr std::size_t kLeastBytes = 16;
inline constexpr std::size_t kMostBytes = 1472;

struct UdpLoad {
  Endpoint target;
  std::vector<Address> sources = {};  ///< taken in turn; none: the kernel chooses
  int sockets = 1;
  int ports = 1;           ///< from the target's on
  std::size_t bytes = 64;  ///< of a payload
  double seconds = 1.0;
  double rate = 0;  ///< datagrams a second; 0: as many as can be sent, of ping 60
};

/// These print one line of JSON with what was measured and return the exit code.
int flood(const UdpLoad& load);
int ping(const UdpLoad& load);

}  // namespace shunt::load
