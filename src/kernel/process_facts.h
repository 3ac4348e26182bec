// SPDX-License-Identifier: GPL-2.0-only
// What /proc says of a process, as far as rules ask for it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "flow/facts.h"

namespace shunt {

/// State never when the process is gone. What this user may not read is left out.
ProcessFact process_facts(pid_t pid);

/// The path in the cgroup2 hierarchy of a /proc/PID/cgroup ("0::/a/b"); "" where there is none.
[[nodiscard]] std::string_view cgroup_path(std::string_view proc_cgroup);
/// The innermost systemd unit of a cgroup path: its last component in ".service" or ".scope"; "".
[[nodiscard]] std::string_view unit_of(std::string_view cgroup);
/// The container: the first 12 characters of the ID that Docker, Podman, containerd or CRI-O name
/// the cgroup by; of LXC and systemd-nspawn the name; "".
[[nodiscard]] std::string_view container_of(std::string_view cgroup);

}  // namespace shunt
