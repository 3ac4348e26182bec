// SPDX-License-Identifier: GPL-2.0-only
// In which network namespace `shunt watch` captures: this one, or that of a container, of a process
// or of a file. One of them for each shunt.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/watch_target.h"
#include "net/unique_fd.h"

namespace shunt::cli {

/// Finds the containers of the targets (their state files are below `state_root`; "": the
/// machine's) and notes their processes and cgroups. Yields the namespace that all targets with a
/// network of their own are in; not valid: it is the calling thread's.
Result<UniqueFd> resolve_networks(std::vector<WatchTarget>& targets, const std::string& state_root);

}  // namespace shunt::cli
