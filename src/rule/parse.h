// SPDX-License-Identifier: GPL-2.0-only
// The one grammar of rules (docs/rules.md), from text. Pure and bounded: limits::kRuleBytes.
#pragma once

#include <string_view>
#include <vector>

#include "rule/mistake.h"
#include "rule/rule.h"

namespace shunt {

/// "TERM… -> ACTION [else ACTION]…"; a rule without terms matches everything. Whether a way out of
/// that name exists, a pattern is well formed or a file is there is for policy/ to say.
[[nodiscard]] Parsed<Rule> parse_rule(std::string_view text);

/// The terms alone, at least one: what --exclude takes.
[[nodiscard]] Parsed<std::vector<Term>> parse_terms(std::string_view text);

}  // namespace shunt
