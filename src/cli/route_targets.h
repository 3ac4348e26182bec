// SPDX-License-Identifier: GPL-2.0-only
// `shunt route TARGET…`: programs that run already take another way, until it ends.
#pragma once

#include "base/result.h"

namespace shunt::cli {

class Options;

/// Whether the words of `shunt route` are targets and no command.
[[nodiscard]] bool names_targets(const Options& options);

/// To the end; the exit code.
Result<int> route_targets(const Options& options);

}  // namespace shunt::cli
