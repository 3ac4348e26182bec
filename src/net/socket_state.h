// SPDX-License-Identifier: GPL-2.0-only
// What the kernel says of a socket that may be another process's too. Nothing here blocks.
#pragma once

#include <cstdint>

#include "net/endpoint.h"

namespace shunt {

/// connect(2) that never blocks, whatever the descriptor's flags are: they are put back. Yields the
/// errno, EINPROGRESS among them, or 0. The flags belong to the open file, which others may have:
/// for that moment a call of theirs that would block says EAGAIN, and an F_SETFL of theirs is lost.
int connect_without_waiting(int fd, const SocketAddress& address);
/// connect(2) with AF_UNSPEC. Yields the errno, or 0.
int disconnect(int fd);

/// SO_BINDTODEVICE: nothing of it reaches loopback.
[[nodiscard]] bool is_bound_to_device(int fd);
[[nodiscard]] bool is_v6_only(int fd);
/// Lets a socket of IPv6 reach IPv4, which the kernel allows until it is bound.
bool clear_v6_only(int fd);

/// TCP_INFO says that the connection is there; its ends may have said their last already.
[[nodiscard]] bool is_connected(int fd);
/// TCP_INFO says that it is being made: the kernel's attempt is neither through nor over.
[[nodiscard]] bool is_connecting(int fd);

/// The network namespace that a socket belongs to: a number that is given once (SO_NETNS_COOKIE,
/// Linux 5.14). 0: not known.
[[nodiscard]] std::uint64_t network_of(int fd);

}  // namespace shunt
