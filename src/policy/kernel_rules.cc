// SPDX-License-Identifier: GPL-2.0-only
#include "policy/kernel_rules.h"

#include <algorithm>

#include "rule/kernel_terms.h"

namespace shunt {
namespace {

/// What a capture is spared by must be worth its walk over the list, which is no index.
constexpr std::size_t kMostRules = 1000;

/// nftables takes one cgroup a rule.
bool kernel_matches(const Term& term) {
  return is_kernel_term(term) && (term.key != TermKey::cgroup || term.values.size() == 1);
}

/// nftables knows a cgroup by the number that it has when the rule is loaded; a service that is
/// started anew has another. A rule that leaves then leaves less, which is harmless; one that
/// captures would miss what it is there for.
bool stays_right(const Term& term) { return term.key != TermKey::cgroup; }

bool is_plainly_direct(const Verdict& verdict) {
  return verdict.kind == Verdict::Kind::carry && verdict.ways.size() == 1 &&
         verdict.ways.front() == Ruleset::kDirectWay && !verdict.drop_if_all_fail;
}

/// No flow matches both: they ask for different values of one plain fact.
bool disjoint(const std::vector<Term>& a, const std::vector<Term>& b) {
  const auto apart = [](const Value& x, const Value& y) {
    if (x.form == ValueForm::network) {
      return !x.network.contains(y.network) && !y.network.contains(x.network);
    }
    if (x.form == ValueForm::range) return x.high < y.low || y.high < x.low;
    return x.form == ValueForm::exact && x.text != y.text;
  };
  return std::ranges::any_of(a, [&](const Term& x) {
    return std::ranges::any_of(b, [&](const Term& y) {
      return x.key == y.key && stays_right(x) && std::ranges::all_of(x.values, [&](const Value& v) {
               return std::ranges::all_of(
                   y.values, [&](const Value& w) { return v.form == w.form && apart(v, w); });
             });
    });
  });
}

/// Takes away what captures nothing that a later rule would leave.
void drop_idle(std::vector<KernelRule>& rules) {
  while (!rules.empty() && rules.back().effect == KernelRule::Effect::capture) rules.pop_back();
  std::vector<KernelRule> kept;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const bool idle = rules[i].effect == KernelRule::Effect::capture &&
                      std::ranges::all_of(rules.begin() + static_cast<std::ptrdiff_t>(i),
                                          rules.end(), [&](const KernelRule& later) {
                                            return later.effect == KernelRule::Effect::capture ||
                                                   disjoint(rules[i].terms, later.terms);
                                          });
    if (!idle) kept.push_back(rules[i]);
  }
  rules = std::move(kept);
}

}  // namespace

std::vector<KernelRule> kernel_rules(const Ruleset& rules) {
  std::vector<KernelRule> out;
  for (std::uint32_t number = 1; number <= rules.size() && out.size() < kMostRules; ++number) {
    const Rule& rule = rules.rule(number);
    const bool direct = is_plainly_direct(rules.verdict(number));
    KernelRule kernel{.effect = direct ? KernelRule::Effect::leave : KernelRule::Effect::capture,
                      .rule = number,
                      .terms = {},
                      .text = rule.text};
    for (const Term& term : rule.terms) {
      if (kernel_matches(term) && (direct || stays_right(term))) kernel.terms.push_back(term);
    }
    const bool exact = kernel.terms.size() == rule.terms.size();
    if (direct && !exact) continue;   // later rules may send it direct as well: no contradiction
    if (kernel.terms.empty()) break;  // everything behind it is for policy to decide
    out.push_back(std::move(kernel));
  }
  drop_idle(out);
  return out;
}

}  // namespace shunt
