// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "net/endpoint.h"

namespace shunt {

enum class CountedSockets : std::uint8_t {
  connected,  ///< to another machine
  outgoing,   ///< and those that may connect or send yet: all but listening ones
};

/// How many sockets of TCP and UDP, IPv4 and IPv6, these processes have, one that several of
/// them share counted once. Those that lead to loopback are not counted. What /proc does not show
/// to this user is not there. Takes milliseconds where they have many.
std::size_t count_sockets(const std::vector<pid_t>& processes, CountedSockets which);

/// The same of a text like /proc/net/tcp: their inodes.
std::vector<unsigned long> counted_inodes(std::string_view proc_net, CountedSockets which);

/// The processes that hold a TCP socket which listens at that address of this machine; empty where
/// there is none, or /proc does not show them to this user.
std::vector<pid_t> listeners_at(const Endpoint& address);

/// Whether the process is in the network namespace `netns`, or (-1) in that of the calling thread;
/// true where /proc does not say.
bool shares_network(pid_t process, int netns = -1);

}  // namespace shunt
