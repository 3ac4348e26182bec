// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <vector>

#include "capture/selector.h"
#include "policy/ruleset.h"

namespace shunt::cli {

/// The rules that the kernel decides by itself (policy/kernel_rules.h), for a capture. Looks
/// cgroups up: a rule that names one which does not exist now stays with the proxy.
[[nodiscard]] std::vector<KernelDecision> kernel_decisions(const Ruleset& rules);

}  // namespace shunt::cli
