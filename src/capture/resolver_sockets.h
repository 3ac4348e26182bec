// SPDX-License-Identifier: GPL-2.0-only
// Sockets that the C library makes for lookups of names, by calls that a library in the program
// does not see. Their owners are known all the same: a process says when it will look a name up,
// and a socket that then sends from somewhere is looked for among its descriptors.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/result.h"
#include "flow/flow.h"
#include "kernel/sock_diag.h"
#include "net/endpoint.h"

namespace shunt {

/// On one thread.
class ResolverSockets {
 public:
  /// In the network namespace of the calling thread.
  static Result<ResolverSockets> create();

  void will_ask(pid_t process);
  /// Whose socket of this machine sends from `local` to `remote`, among those that said they would;
  /// nothing: none of theirs.
  std::optional<pid_t> owner(Protocol protocol, const Endpoint& local, const Endpoint& remote);

 private:
  static constexpr std::size_t kMostAsking = 64;  // the latest

  explicit ResolverSockets(UniqueFd diag) : diag_(std::move(diag)) {}

  SockDiag diag_;
  std::deque<pid_t> asking_;  // the latest first
};

}  // namespace shunt
