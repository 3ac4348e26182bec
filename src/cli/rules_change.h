// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "policy/ruleset.h"

namespace shunt::cli {

/// "2 new, 1 gone": how many rules of the one have no like in the other. Pure.
[[nodiscard]] std::string rules_change_text(const Ruleset& before, const Ruleset& after);

}  // namespace shunt::cli
