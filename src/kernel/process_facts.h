// SPDX-License-Identifier: GPL-2.0-only
// What /proc says of a process, as far as rules ask for it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "flow/facts.h"

namespace shunt {

/// State never when the process is gone. What this user may not read is left out.
ProcessFact process_facts(pid_t pid);

/// A process, as one of its threads shows it: user and group may be the thread's own.
struct CallingProcess {
  ProcessFact fact = {.state = FactState::never};
  pid_t pid = 0;  ///< 0: gone
};
/// Blocks for what five looks into /proc take, some 50 µs.
CallingProcess calling_process(pid_t thread);
/// Whether it has handlers of signals of its own; the C library's do not count.
bool catches_signals(pid_t thread);
/// Those that do nothing to it: bit N-1 is signal N.
std::uint64_t ignored_signals(pid_t thread);
/// The process that a thread belongs to; nothing: it is gone.
std::optional<pid_t> process_of_thread(pid_t thread);

/// The path in the cgroup2 hierarchy of a /proc/PID/cgroup ("0::/a/b"); "" where there is none.
[[nodiscard]] std::string_view cgroup_path(std::string_view proc_cgroup);
/// The innermost systemd unit of a cgroup path: its last component in ".service" or ".scope"; "".
[[nodiscard]] std::string_view unit_of(std::string_view cgroup);
/// The container: the first 12 characters of the ID that Docker, Podman, containerd or CRI-O name
/// the cgroup by; of LXC and systemd-nspawn the name; "".
[[nodiscard]] std::string_view container_of(std::string_view cgroup);

}  // namespace shunt
