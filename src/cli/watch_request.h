// SPDX-License-Identifier: GPL-2.0-only
// What `shunt watch` and `shunt route TARGET` are told about whom they take.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/watch_target.h"
#include "kernel/selecting_program.h"

namespace shunt::cli {

class Options;

struct WatchRequest {
  std::vector<WatchTarget> targets;
  /// Directory of the topmost cgroup that is captured; "" (of a route alone): there are none here.
  std::string root;
  bool move = false;  ///< processes into a cgroup of ours
  int network = -1;   ///< where it is captured (cli/watch_network.h); -1: in the calling thread's
};

/// From the words, and the options `move` and `cgroup-root` that both commands have.
Result<WatchRequest> parse_watch_request(const Options& options, TargetsOf command);

/// Is attached where it is, not selected below the root.
[[nodiscard]] bool has_own_cgroup(const WatchTarget& target, const WatchRequest& request);
[[nodiscard]] bool uses_root(const WatchRequest& request);
/// A process, or a program that may start anew: known by what follows processes.
[[nodiscard]] bool needs_following(const WatchTarget& target);

/// Whether it takes more than to be in the cgroups that the programs are attached to, and what.
SelectingProgram::Selection selection_of(const WatchRequest& request);

/// The directory of the cgroup that the target names, as `path`: it must be there, below the root.
Result<std::string> cgroup_of_target(const WatchTarget& target, const std::string& path,
                                     const WatchRequest& request);
/// Kind::usage: the target is not below the root.
Failure outside_of_root(const WatchTarget& target, const WatchRequest& request);
/// Directories of cgroups.
[[nodiscard]] bool is_at_or_below(const std::string& directory, const std::string& top);

/// The directories of that name below `top`, itself left out.
std::vector<std::string> find_cgroups(const std::string& top, std::string_view name);

}  // namespace shunt::cli
