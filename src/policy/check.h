// SPDX-License-Identifier: GPL-2.0-only
// What is odd in rules that are well formed: for `shunt check`. Sound, not complete: what is found
// is so, but not all of it is found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policy/ruleset.h"

namespace shunt {

struct Finding {
  enum class Kind : std::uint8_t {
    unreachable,      ///< `earlier` matches whatever this rule would
    never_matches,    ///< its terms exclude each other
    duplicate_value,  ///< a value stands in its term already
    unused_way_out,   ///< no rule and not the fallback names it
    gave_up,          ///< too many rules to compare each with each: there may be more
  };
  Kind kind = Kind::unreachable;
  std::uint32_t rule = 0;     ///< from 1; 0: not about a rule
  std::uint32_t earlier = 0;  ///< unreachable: by that one
  TextSpan span = {};         ///< of the rule's text
  std::string message;        ///< one line, ready but for escaping
};

/// In the order of the rules, then the ways out. Takes about a second for 100,000 rules.
[[nodiscard]] std::vector<Finding> check(const Ruleset& rules);

/// Every flow that `later` matches is matched by `earlier`, whatever is known of the flow, but for
/// names that turn out to be made up: those also depend on the verdicts. A list file covers the
/// same file alone.
[[nodiscard]] bool covers(const Rule& earlier, const Rule& later);

}  // namespace shunt
