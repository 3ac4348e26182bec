// SPDX-License-Identifier: GPL-2.0-only
// eBPF programs that give the sockets of a cgroup's processes a mark, an interface and a source
// address when they are made (bpf/route.bpf.c). They belong to their links' descriptors and go with
// them; a socket keeps its mark and its interface until it is closed.
//
// Linux 5.18; tried on 6.18. CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "base/result.h"
#include "kernel/selecting_program.h"
#include "net/endpoint.h"

namespace shunt {

struct RouteProgramOptions {
  std::uint32_t mark = 0;        ///< SO_MARK; 0: none
  unsigned interface_index = 0;  ///< SO_BINDTODEVICE; 0: none
  // With one of the two, sockets of the other family are refused (EAFNOSUPPORT).
  std::optional<Address> source_v4 = {};
  std::optional<Address> source_v6 = {};
  pid_t own_pid = 0;  ///< is never routed; 0: nothing of the kind
  SelectingProgram::Selection selection = {};
};

class RouteProgram : public SelectingProgram {
 public:
  /// Loads it without attaching it: whether this kernel, and this user, can.
  static Result<void> probe();
  /// Routes nothing yet. For the network namespace of the calling thread.
  static Result<std::unique_ptr<RouteProgram>> load(const RouteProgramOptions& options);

  /// The interface has another index now; 0: it is gone, and new sockets fail with ENODEV.
  virtual void use_interface(unsigned index) = 0;
  struct Counts {
    std::uint64_t routed = 0;  ///< sockets since the start
    /// Those of them that are open; none where the kernel does not describe its types (BTF).
    std::optional<std::uint64_t> live = {};
    std::uint64_t refused = 0;  ///< that could not be routed as was asked
  };
  /// Looks at all of them.
  [[nodiscard]] virtual Counts counts() const = 0;
};

}  // namespace shunt
