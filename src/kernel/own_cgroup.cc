// SPDX-License-Identifier: GPL-2.0-only
#include <string>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/cgroup.h"
#include "kernel/toa.h"

namespace shunt {

Result<std::string> own_cgroup_directory() {
  auto directory = cgroup_directory();
  if (!directory) {
    return Failure(make_error(Kind::unsupported, error_number::kNoToa,
                              "TOA needs the unified cgroup hierarchy, and none is mounted here",
                              "mount -t cgroup2 none /sys/fs/cgroup/unified"));
  }
  if (!is_root_cgroup(*directory)) return directory;
  return Failure(make_error(Kind::unsupported, error_number::kNoToa,
                            "TOA needs a cgroup of shunt's own, and shunt is in the root one",
                            "systemd-run --scope shunt …, or a unit; by hand: mkdir a cgroup and "
                            "write shunt's pid into its cgroup.procs"));
}

}  // namespace shunt
