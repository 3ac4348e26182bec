// SPDX-License-Identifier: GPL-2.0-only
// Options that `watch` and `route` have in common: how targets are told (cli/watch_request.h).
#pragma once

#include "cli/options.h"

namespace shunt::cli {

inline constexpr Option kMoveOption = {
    .name = "move",
    .help =
        "move the processes of pid: into a cgroup of shunt's own for as long as it runs, "
        "instead of attaching programs to the root of the cgroups"};

inline constexpr Option kCgroupRootOption = {
    .name = "cgroup-root",
    .type = ValueType::path,
    .value = "PATH",
    .help =
        "take nobody outside the cgroup with the directory PATH; without it, the topmost one "
        "that is mounted"};

}  // namespace shunt::cli
