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

#include <cstddef>
#include <cstdint>
#include <expected>
#include <vector>

#include "base/result.h"
#include "net/endpoint.h"
#include "net/unique_fd.h"

namespace shunt {

class Parking {
 public:
  /// Listeners on 127.0.0.1 and, where this machine has it, ::1.
  static Result<Parking> create();

  /// Makes `fd`, a TCP socket of the family `domain` that is going to `destination`, connect to
  /// nobody. Yields the place that it connects to, or the errno that the program is to be told.
  [[nodiscard]] std::expected<Endpoint, int> park(int fd, Family domain,
                                                  const Endpoint& destination);
  /// Begins to connect to a socket that is parked at `place` and whose own address is `client`; the
  /// result is non-blocking, and connected as soon as it is writable.
  [[nodiscard]] static Result<UniqueFd> meet(const Endpoint& client, const Endpoint& place);
  /// Whether a parked socket's peer is this.
  [[nodiscard]] bool is_place(const Endpoint& endpoint) const;
  /// Those that there are now.
  [[nodiscard]] std::vector<Endpoint> places() const;
  /// The network namespace that they are in (net/socket_state.h).
  [[nodiscard]] std::uint64_t network() const;

 private:
  struct Place {
    Endpoint address;
    UniqueFd listener;
    UniqueFd filler;  ///< fills its accept queue
  };
  /// All sockets that are parked at one place need local addresses of their own, which those that
  /// they were going to would not ask for: a program may bind several to one, or use up all ports.
  struct Places {
    Family family = Family::ipv4;
    std::vector<Place> all;
    std::size_t current = 0;
  };
  static Result<Place> make(Family family);
  static bool turn_to_another(Places& places, std::size_t tried);
  static std::expected<Endpoint, int> connect_to_one(Places& places, int fd, Family domain);

  Parking() = default;
  Places ipv4_{.family = Family::ipv4, .all = {}};
  Places ipv6_{.family = Family::ipv6, .all = {}};  // none where this machine has no IPv6
};

}  // namespace shunt
