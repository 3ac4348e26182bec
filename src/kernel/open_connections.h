// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string_view>
#include <vector>

namespace shunt {

/// How many connected sockets of TCP and UDP, IPv4 and IPv6, these processes have, one that several
/// of them share counted once. Those to loopback are not counted. What /proc does not show to this
/// user is not there. Takes milliseconds where they have many.
std::size_t count_open_connections(const std::vector<pid_t>& processes);

/// The same of a text like /proc/net/tcp: the inodes of its connected sockets that lead to
/// addresses other than loopback.
std::vector<unsigned long> connected_inodes(std::string_view proc_net);

}  // namespace shunt
