// SPDX-License-Identifier: GPL-2.0-only
#include "policy/decide.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "policy/compiled.h"
#include "policy/evaluate.h"

namespace shunt {
namespace {

constexpr std::uint32_t kNoRule = UINT32_MAX;

/// What walking over the rules came to.
struct Walk {
  Needs needs;
  std::uint32_t rule = kNoRule;  ///< from 0
};

void add_rules(const CompiledRules& rules, std::span<const std::uint32_t> terms,
               std::vector<std::uint32_t>& candidates) {
  for (const std::uint32_t id : terms) {
    const CompiledTerm& term = rules.terms[id];
    if (term.leads_to_rule) candidates.push_back(term.rule);
  }
}

/// The rules that an index leads to, in their order.
void find_candidates(const CompiledRules& rules, FactState name, Lookups& lookups) {
  std::vector<std::uint32_t>& out = lookups.candidates;
  out.clear();
  add_rules(rules, lookups.destinations, out);
  add_rules(rules, lookups.clients, out);
  if (name == FactState::known) add_rules(rules, lookups.hosts, out);
  std::ranges::sort(out);
}

/// Walks over sorted lists of rules as if they were one.
class Merged {
 public:
  Merged(std::span<const std::uint32_t> a, std::span<const std::uint32_t> b,
         std::span<const std::uint32_t> c)
      : lists_{a, b, c} {}

  /// kNoRule at the end. A rule that stands twice comes once.
  std::uint32_t next() {
    std::uint32_t least = kNoRule;
    for (const auto& list : lists_) {
      if (!list.empty()) least = std::min(least, list.front());
    }
    for (auto& list : lists_) {
      while (!list.empty() && list.front() == least) list = list.subspan(1);
    }
    return least;
  }

 private:
  std::array<std::span<const std::uint32_t>, 3> lists_;
};

/// The first rule that matches; of the rules before it, the facts that those lack which may match
/// yet.
Walk walk(const CompiledRules& rules, Evaluation& evaluation, Lookups& lookups) {
  const FactState name = evaluation.name_state();
  find_candidates(rules, name, lookups);
  std::span<const std::uint32_t> any_host;
  if (name == FactState::unknown) any_host = rules.first_by_host;
  Merged merged(rules.unindexed, any_host, lookups.candidates);
  Walk out;
  for (std::uint32_t at = merged.next(); at != kNoRule; at = merged.next()) {
    if (evaluation.answer(rules.rules[at], out.needs) == Answer::yes) {
      out.rule = at;
      return out;
    }
  }
  return out;
}

std::uint32_t number_of(const Walk& walk) { return walk.rule == kNoRule ? 0 : walk.rule + 1; }

Decision without_trust(const Ruleset& rules, Evaluation& evaluation, Lookups& lookups, Wait wait,
                       const Decision& believed) {
  evaluation.take_name(Evaluation::Name::distrusted);
  const Walk found = walk(rules.compiled(), evaluation, lookups);
  if (found.needs.any()) return Decision{.needs = found.needs};
  const std::uint32_t rule = number_of(found);
  if (!rules.verdict(rule).denies()) return believed;
  if (wait == Wait::possible) return Decision{.needs = {Needs::kVerification}};
  return Decision{.needs = {}, .rule = rule, .name_mismatch = true};
}

}  // namespace

Decision decide(const Ruleset& rules, const Facts& facts, Wait wait) {
  static thread_local Lookups lookups;
  Evaluation evaluation(rules.compiled(), facts, wait, lookups);
  const Walk found = walk(rules.compiled(), evaluation, lookups);
  if (found.needs.any()) return Decision{.needs = found.needs};
  const Decision decision{.needs = {}, .rule = number_of(found)};
  const bool doubtful = facts.name.state == FactState::known && !facts.name.verified;
  if (!doubtful || !rules.uses(TermKey::host) || rules.verdict(decision.rule).denies()) {
    return decision;
  }
  return without_trust(rules, evaluation, lookups, wait, decision);
}

}  // namespace shunt
