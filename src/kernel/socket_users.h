// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace shunt {

/// The effective user ids of the processes that hold the socket of this inode (SocketOwner::inode),
/// each once, in order; empty where /proc shows none of them to this user. Unlike the socket's own
/// uid, which stays the creator's, this is what a server became after it had opened its port. Looks
/// at every descriptor of the machine, which takes milliseconds: not for each flow.
std::vector<uid_t> users_of_socket(std::uint32_t inode);

}  // namespace shunt
