// SPDX-License-Identifier: GPL-2.0-only
// eBPF programs on cgroups that act on some of the processes there: whom a list names
// (bpf/selectors.bpf.h), which WatchProgram keeps up to date.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace shunt {

class SelectingProgram {
 public:
  enum class Whom : std::uint8_t {
    all,
    selected,  ///< whom select() names
    all_but,   ///< whom select() names to be left alone
  };
  enum class SelectBy : std::uint8_t {
    process = 1,
    uid,
    gid,
    cgroup,
    named,    ///< a process, by its number too, for as long as it runs a program of a watched name
    classid,  ///< of the process's cgroup in net_cls
  };
  struct Selection {
    Whom whom = Whom::all;
    unsigned cgroup_levels = 0;  ///< how deep a cgroup may be that select() names
    bool by_classid = false;     ///< needs a kernel with net_cls
  };

  virtual ~SelectingProgram() = default;
  /// To the directory of a cgroup, for it and all below it. All of the programs or none.
  virtual Result<void> attach(const std::string& cgroup) = 0;
  /// Who is taken, and who is not though something else selects him.
  virtual Result<void> select(SelectBy by, std::uint64_t value, bool leave_alone) = 0;
  virtual void unselect(SelectBy by, std::uint64_t value) = 0;
  /// The map behind select(); stays this object's.
  [[nodiscard]] virtual int selectors() const = 0;
};

}  // namespace shunt
