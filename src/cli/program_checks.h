// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <vector>

#include "cli/host_checks.h"
#include "kernel/features.h"

namespace shunt::cli {

/// Of examine_host(): in which ways single programs can be captured or routed here, each found out
/// by trying it. Forks.
void add_program_checks(std::vector<Finding>& out, const Features& features);

}  // namespace shunt::cli
