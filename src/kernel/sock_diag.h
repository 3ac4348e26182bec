// SPDX-License-Identifier: GPL-2.0-only
// sock_diag(7): the kernel's record of one socket, found by its addresses.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "flow/flow.h"
#include "net/endpoint.h"
#include "net/unique_fd.h"

namespace shunt {

struct SocketOwner {
  std::uint32_t inode = 0;  ///< as in the link text of /proc/PID/fd/N: "socket:[INODE]"
  uid_t uid = 0;            ///< in this process's user namespace
};

class SockDiag {
 public:
  /// `fd` is a NETLINK_SOCK_DIAG socket; it sees the sockets of the namespace it was made in, and
  /// needs no privilege.
  explicit SockDiag(UniqueFd fd) : fd_(std::move(fd)) {}

  /// The socket that sends from `local` to `remote`; for UDP also one that is not connected, for
  /// TCP also the one that listens at `local`, whatever `remote` is. Empty when there is none, or
  /// none that belongs to a process any more.
  std::optional<SocketOwner> find(Protocol protocol, const Endpoint& local, const Endpoint& remote);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace shunt
