// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <span>

#include "policy/compiled.h"
#include "rule/rule.h"

namespace shunt {

/// Decides what leads to each rule: one of its hosts, one of its networks, or nothing but its turn.
/// `out` holds the rules compiled, in the order of `rules`.
void index_rules(std::span<const Rule> rules, CompiledRules& out);

}  // namespace shunt
