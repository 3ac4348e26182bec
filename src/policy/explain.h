// SPDX-License-Identifier: GPL-2.0-only
// Why a flow is decided as it is: for `shunt explain`. Looks at every rule, in order; plain data
// for somebody else to print.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policy/decide.h"

namespace shunt {

struct RuleExplanation {
  enum class Outcome : std::uint8_t {
    matched,
    not_matched,
    undecided,  ///< would match, or not, by a fact that is not there yet, or was not told
  };
  std::uint32_t rule = 0;  ///< from 1
  Outcome outcome = Outcome::not_matched;
  /// not_matched and undecided: the term that says so. "" for a rule that a distrusted name leaves
  /// out.
  std::string term = {};  ///< as it was written: "port 80,443"
  /// What the flow has in its place: "port 22", "no name". Escape before printing.
  std::string seen = {};
  Needs needs = {};  ///< undecided: of that term; none: who asks did not say it
};

struct Explanation {
  Decision decision;
  /// Every rule up to the one that decided, or all of them.
  std::vector<RuleExplanation> rules;
};

/// "the host name, the protocol and the process".
[[nodiscard]] std::string needs_text(Needs needs);

[[nodiscard]] Explanation explain(const Ruleset& rules, const Facts& facts,
                                  Wait wait = Wait::possible);

}  // namespace shunt
