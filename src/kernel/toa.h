// SPDX-License-Identifier: GPL-2.0-only
// TOA ("TCP option address"): who the client is, said to the server in a TCP option of the SYN that
// shunt connects with. An eBPF program (bpf/toa.bpf.c, sockops) on shunt's own cgroup writes it; it
// acts only on sockets that were tagged. The cgroup is the one that the process is in when the
// program is attached, and never the root one, which would have every socket of the machine pass
// through the program.
//
// The attachment is a link held by a descriptor, so it dies with the process; an option lies in its
// socket's own storage and goes with that. Linux 5.10, CAP_BPF and CAP_NET_ADMIN to attach; a tag
// needs neither, but is a bpf(2).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "net/endpoint.h"

namespace shunt {

class ToaProgram {
 public:
  /// The process's one: attached now, or the same as long as somebody has it. Any thread.
  static Result<std::shared_ptr<const ToaProgram>> get();
  /// Loads it without attaching it: whether this kernel, and this user, can.
  static Result<void> probe();
  /// Whether this build has it at all.
  [[nodiscard]] static bool built_in();

  virtual ~ToaProgram() = default;
  /// Puts `client` into the SYN of a TCP socket on which connect() was not called yet. Any thread.
  [[nodiscard]] virtual Result<void> tag(int fd, const Endpoint& client) const = 0;
  /// How many SYNs went without their option, for want of room.
  [[nodiscard]] virtual std::uint64_t left_out() const = 0;
};

/// The directory of the calling process's own cgroup of the unified hierarchy. Fails with a fix
/// where there is none, or where it is the root.
Result<std::string> own_cgroup_directory();

}  // namespace shunt
