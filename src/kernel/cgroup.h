// SPDX-License-Identifier: GPL-2.0-only
// Cgroups of the unified hierarchy (cgroups(7)), by their directories as they are mounted here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt {

/// The directory of a process's cgroup; 0: the calling one's. Fails with a fix where the hierarchy
/// is not mounted, or the cgroup is not below what is mounted.
Result<std::string> cgroup_directory(pid_t pid = 0);
/// The directory of a path as /proc/PID/cgroup has it: "/a/b".
Result<std::string> cgroup_directory_of(std::string_view path);
/// Whether it is the root of the whole machine: every other cgroup has a type.
[[nodiscard]] bool is_root_cgroup(const std::string& directory);
/// What bpf_get_current_cgroup_id() yields inside. The inode of the directory on machines of 64
/// bits (kernfs_id()).
Result<std::uint64_t> cgroup_id(const std::string& directory);
/// How many cgroups are above it, the root's own being 0.
[[nodiscard]] unsigned cgroup_level(std::string_view path);
/// Whether any process is in it, or below it.
[[nodiscard]] bool is_populated(const std::string& directory);
/// The processes in it and below it, in no order.
[[nodiscard]] std::vector<pid_t> cgroup_processes(const std::string& directory);
/// Moves a process with all its threads; 0: the calling one.
Result<void> move_to_cgroup(pid_t pid, const std::string& directory);
/// The same in two steps, for who gives up privileges in between: it is those of who opened that
/// count (Linux 5.16).
Result<UniqueFd> open_cgroup_processes(const std::string& directory);
Result<void> move_to_cgroup(pid_t pid, int processes);

/// A cgroup of our own, empty when it is made. Removed with this, unless a process is still inside;
/// what outlives us is an empty directory, which sweep_cgroups() finds by its name.
class Cgroup {
 public:
  /// Makes "shunt-KIND-PID-N" below `parent`. Needs to be allowed to write there: root, or a
  /// delegated cgroup.
  static Result<Cgroup> create(const std::string& parent, std::string_view kind);
  Cgroup(Cgroup&& other) noexcept;
  Cgroup& operator=(Cgroup&& other) noexcept;
  ~Cgroup() { remove(); }

  [[nodiscard]] const std::string& directory() const { return directory_; }
  /// Tries to remove it, with empty ones that somebody made below it.
  void remove();

 private:
  explicit Cgroup(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

/// Removes the empty cgroups below `parent` that Cgroup::create() made in processes that are gone.
/// Yields how many.
int sweep_cgroups(const std::string& parent);

}  // namespace shunt
