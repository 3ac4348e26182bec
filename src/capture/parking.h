// SPDX-License-Identifier: GPL-2.0-only
// Where a program's TCP socket waits while its upstream is dialled, so that the program sees it as
// connecting, whatever it looks at it with (poll(2), an epoll set that it is in already, SO_ERROR).
//
// It is connected to a listener of ours on loopback whose accept queue is full: the kernel drops
// its SYN without a word, and the socket stays in SYN_SENT, where it reports nothing. When the
// upstream is there, a second socket that is bound to the listener's address connects to the
// program's: two SYNs meet (simultaneous open, RFC 9293 section 3.5), the program's socket becomes
// writable, and the second socket is shunt's end of the connection. Nothing was accepted. When the
// upstream is not there, disconnecting the program's socket wakes the program.
//
//   program: SYN_SENT ----> 127.0.0.1:Q listener, full        park()
//   program: ESTABLISHED <===> bound to 127.0.0.1:Q           meet()
//
// Tried on Linux 6.18 with blocking and non-blocking sockets, edge-triggered epoll sets that were
// set up before, asyncio, Go and curl.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "net/endpoint.h"
#include "net/unique_fd.h"

namespace shunt {

/// connect(2) that never blocks, whatever the descriptor's flags are: they are put back. Yields the
/// errno, EINPROGRESS among them, or 0.
int connect_without_waiting(int fd, const SocketAddress& address);

/// SO_BINDTODEVICE: nothing of it reaches loopback.
[[nodiscard]] bool is_bound_to_device(int fd);
[[nodiscard]] bool is_v6_only(int fd);
/// Lets a socket of IPv6 reach IPv4, which the kernel allows until it is bound.
bool clear_v6_only(int fd);

/// TCP_INFO says that the connection is there; its ends may have said their last already.
[[nodiscard]] bool is_connected(int fd);

class Parking {
 public:
  /// Listeners on 127.0.0.1 and, where this machine has it, ::1.
  static Result<Parking> create();

  /// Makes `fd`, a TCP socket of the family `domain` that is going to `destination`, connect to
  /// nobody. Yields 0, or the errno that the program is to be told.
  [[nodiscard]] int park(int fd, Family domain, const Endpoint& destination) const;
  /// Begins to connect to a socket that is parked, whose own address is `client`; the result is
  /// non-blocking, and connected as soon as it is writable.
  [[nodiscard]] Result<UniqueFd> meet(const Endpoint& client) const;
  /// Whether a parked socket's peer is this.
  [[nodiscard]] bool is_place(const Endpoint& endpoint) const;
  [[nodiscard]] std::vector<Endpoint> places() const;

 private:
  struct Place {
    Endpoint address;
    UniqueFd listener;
    UniqueFd filler;  ///< fills its accept queue
  };
  static Result<Place> make(Family family);

  Parking() = default;
  Place ipv4_;
  std::optional<Place> ipv6_;
};

}  // namespace shunt
