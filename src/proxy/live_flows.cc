// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/live_flows.h"

#include "policy/decide.h"

namespace shunt {

LiveFlows::Entry::Entry(LiveFlows& flows, const DecidedFlow& decided)
    : flows_(flows), decided_(decided), next_(flows.first_) {
  if (next_ != nullptr) next_->previous_ = this;
  flows.first_ = this;
  const auto changed = flows.changed_.lock();
  if (changed != nullptr && changed->newer_than(*decided.policy) &&
      verdict_changes(*decided.policy, decided.rule, decided.facts, *changed)) {
    ender.end(EndReason::rules_changed);
  }
}

LiveFlows::Entry::~Entry() {
  (previous_ == nullptr ? flows_.first_ : previous_->next_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

// Ending a relay wakes it in the loop's next turn: no entry goes while this walks over them.
void LiveFlows::end_changed(const std::shared_ptr<const Policy>& policy) {
  for (Entry* entry = first_; entry != nullptr; entry = entry->next_) {
    const DecidedFlow& decided = entry->decided_;
    if (verdict_changes(*decided.policy, decided.rule, decided.facts, *policy)) {
      entry->ender.end(EndReason::rules_changed);
    }
  }
  changed_ = policy;
}

bool verdict_changes(const Policy& old_policy, std::uint32_t old_rule, const Facts& facts,
                     const Policy& policy) {
  const Ruleset& rules = policy.rules();
  const Needs needs = decide(rules, facts).needs;
  if (needs.first_bytes() || needs.has(Needs::kProcess)) return false;
  if (rules.uses(TermKey::interface) && !facts.interface) return false;
  const Decision now = decide(rules, facts, Wait::over);
  return !policy.same_verdict(now.rule, old_policy, old_rule);
}

}  // namespace shunt
