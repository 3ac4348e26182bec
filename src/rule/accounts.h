// SPDX-License-Identifier: GPL-2.0-only
// The numbers of users and groups, from the system's account database (getpwnam(3), getgrnam(3);
// may ask the network where NSS does; not thread-safe: call while rules are loaded).
#pragma once

#include <vector>

#include "rule/mistake.h"
#include "rule/rule.h"
#include "rule/values.h"

namespace shunt {

/// The numbers that a term of `uid`, `gid` or `user` means, sorted and merged. A name that nobody
/// has is a mistake.
[[nodiscard]] Parsed<std::vector<NumberRange>> account_numbers(const Term& term);

/// Sorted; what touches or overlaps becomes one.
[[nodiscard]] std::vector<NumberRange> merged(std::vector<NumberRange> ranges);

/// The ranges of a term whose values are numbers, merged.
[[nodiscard]] std::vector<NumberRange> term_ranges(const Term& term);

}  // namespace shunt
