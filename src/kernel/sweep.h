// SPDX-License-Identifier: GPL-2.0-only
// Telling what dead instances left from what the living use; see kernel/instance.h.
#pragma once

#include <string>
#include <vector>

#include "kernel/instance.h"
#include "kernel/record.h"

namespace shunt {

/// The tagged rules of both families that serve nobody: no live record names their table or their
/// priority, and the table has no route; where it has routes, or the rule is not of a capture, only
/// while nobody lives unseen, and never where a route of shunt's own is in force there.
Result<std::vector<RuleSpec>> dead_rules(const Records& records);

/// Whether a tagged rule is a live instance's: by its table, or by its priority.
[[nodiscard]] bool uses_rule(const LiveInstance& instance, const RuleSpec& rule);

/// Nobody here needs what was changed for all (sysctls): there is no live record, and no owned
/// table of an instance whose record is elsewhere.
bool nobody_lives(const Records& records);

/// All rules of both families.
Result<std::vector<RuleSpec>> all_rules();

/// Under StateLock: removes dead rules, their routes, the sysctls' traces and the records.
Result<SweepReport> sweep_rules_and_sysctls(const std::string& directory, const Records& records);

/// The closed tables of the dead, by name. Under StateLock, but to foresee. Needs CAP_NET_ADMIN.
Result<std::vector<std::string>> dead_closed_tables(const Records& records);

/// Under StateLock: removes the closed tables of the dead.
Result<SweepReport> sweep_closed_tables(const Records& records);

}  // namespace shunt
