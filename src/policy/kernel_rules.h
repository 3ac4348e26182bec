// SPDX-License-Identifier: GPL-2.0-only
// The rules that the kernel can decide by itself: what they send direct need not be captured.
//
// The list is to be walked in its order, the first match wins, and what matches none of it is
// captured. A rule leaves traffic alone only if its verdict is plainly `direct` and the kernel can
// match every one of its terms. Each rule before it that may decide otherwise stands in front as
// `capture`, with those of its terms that the kernel can match: that is more than the rule itself
// matches, which is harmless, because what is captured is decided by all the rules. A rule of which
// nothing is left would capture everything, so the list ends there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policy/ruleset.h"

namespace shunt {

struct KernelRule {
  enum class Effect : std::uint8_t { leave, capture };
  Effect effect = Effect::leave;
  std::uint32_t rule = 0;   ///< from 1
  std::vector<Term> terms;  ///< for exclusion_of(): at least one
  std::string text;         ///< that the terms were parsed from
};

/// Ends in a rule that leaves; empty where there is none.
[[nodiscard]] std::vector<KernelRule> kernel_rules(const Ruleset& rules);

}  // namespace shunt
