// SPDX-License-Identifier: GPL-2.0-only
// What became of datagrams that a socket sent to many peers. An unconnected UDP socket is told of
// ICMP errors only where it asks for them, and then in a queue of its own that says of whom each
// speaks (IP_RECVERR, ip(7)).
#pragma once

#include <cstdint>
#include <optional>

#include "net/endpoint.h"

namespace shunt {

/// Asks for them. Failure costs nothing but the errors.
void queue_udp_errors(int fd, Family family);

struct UdpError {
  Endpoint destination;   ///< of the datagram
  int os_error = 0;       ///< as a connected socket would be told
  bool fatal = false;     ///< asking again soon cannot help (icmp_err_convert in net/ipv4/icmp.c)
  bool local = false;     ///< it never left; of IPv4 without the destination's port
  std::uint32_t mtu = 0;  ///< with EMSGSIZE: of the path, IP header included; 0: not known
};

/// The next one in the queue. Empty: there is none. Never blocks.
[[nodiscard]] std::optional<UdpError> next_udp_error(int fd);

}  // namespace shunt
