// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace shunt::cli {

/// What was changed between two configurations that only a restart can apply: "capture.lan", ….
/// Pure.
[[nodiscard]] std::vector<std::string> needs_restart(const Config& before, const Config& after);

}  // namespace shunt::cli
