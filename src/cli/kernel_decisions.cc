// SPDX-License-Identifier: GPL-2.0-only
#include "cli/kernel_decisions.h"

#include <utility>

#include "policy/kernel_rules.h"

namespace shunt::cli {

std::vector<KernelDecision> kernel_decisions(const Ruleset& rules) {
  std::vector<KernelDecision> out;
  for (const KernelRule& rule : kernel_rules(rules)) {
    const bool leave = rule.effect == KernelRule::Effect::leave;
    auto match = exclusion_of(rule.terms, rule.text);
    if (!match && leave) continue;  // no such cgroup, or it can never match: the proxy decides
    if (!match) break;              // without it, what comes behind would leave too much
    out.push_back({.match = *std::move(match), .leave = leave, .rule = rule.rule});
  }
  // A capture at the end spares nothing.
  while (!out.empty() && !out.back().leave) out.pop_back();
  return out;
}

}  // namespace shunt::cli
