// SPDX-License-Identifier: GPL-2.0-only
// eBPF programs that follow processes and cgroups as they come and go, and keep the list of whom a
// SelectingProgram takes (bpf/watch.bpf.c). They run within fork(), exec(), mkdir() and prctl(),
// so a new child is on the list before it can do anything. They see the whole machine; what is
// taken is what is listed and in a cgroup that the other programs are attached to.
//
// Linux 5.18 with BTF (CONFIG_DEBUG_INFO_BTF); tried on 6.18. CAP_BPF and CAP_PERFMON.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "kernel/selecting_program.h"

namespace shunt {

class WatchProgram {
 public:
  /// Tries it: the programs see the machine for a moment, and change nothing.
  static Result<void> probe();
  /// Follows from now on; `program` outlives it.
  static Result<std::unique_ptr<WatchProgram>> start(const SelectingProgram& program);

  virtual ~WatchProgram() = default;
  /// Processes that get this name (comm, at most 15 bytes count) from now on, by executing a
  /// program or by giving it to themselves.
  virtual Result<void> follow_process_name(std::string_view name, bool leave_alone) = 0;
  /// Cgroups that are made with this name, anywhere, from now on. At most 127 bytes.
  virtual Result<void> follow_cgroup_name(std::string_view name, bool leave_alone) = 0;
};

}  // namespace shunt
