// SPDX-License-Identifier: GPL-2.0-only
// Rules as nftables matches: those terms of the grammar (rule/rule.h, docs/rules.md) that the
// kernel can match. `--exclude` is made of nothing else; of the other rules, those that send
// traffic direct by such terms alone are kept in the kernel as well.
//
//   to, client, port, client-port, proto    of every packet
//   uid, gid, user, cgroup, classid         the machine's own traffic only
//   in                                      forwarded traffic only
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rule/mistake.h"
#include "rule/rule.h"
#include "rule/values.h"

namespace shunt {

/// A rule as nftables matches. A packet that one of them matches is left alone.
struct Exclusion {
  std::string text;                    ///< as the user wrote it
  std::vector<std::string> forwarded;  ///< for what is forwarded; empty: can never match there
  std::vector<std::string> own;        ///< for the machine's own traffic
  /// The users whose traffic matches whatever it is: of a rule that asks for nothing else.
  std::vector<NumberRange> users = {};
};

/// A rule of the user's that the kernel decides by itself. They stand in an order and the first
/// that matches wins; what none of them matches is captured.
struct KernelDecision {
  Exclusion match;
  bool leave = true;       ///< false: it is captured, whatever comes behind
  std::uint32_t rule = 0;  ///< its number, which its counter is named by
};

/// What is wrong with a rule, and where: bytes of its text.
using SelectorError = RuleMistake;

/// The text of --exclude: parse_terms() and exclusion_of().
std::expected<Exclusion, SelectorError> parse_exclusion(std::string_view text);

/// Terms that were parsed from `text`. A term that the kernel cannot match, and terms that can
/// never match together, are mistakes. Looks user and group names up, and cgroups in the cgroup2
/// hierarchy: nftables takes only those that exist.
std::expected<Exclusion, SelectorError> exclusion_of(std::span<const Term> terms,
                                                     std::string_view text);

}  // namespace shunt
