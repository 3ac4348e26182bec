// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/live_flows.h"

#include "policy/decide.h"

namespace shunt {

LiveFlows::Entry::Entry(LiveFlows& flows, const DecidedFlow& decided)
    : flows_(flows), decided_(decided), next_(flows.first_) {
  if (next_ != nullptr) next_->previous_ = this;
  flows.first_ = this;
}

LiveFlows::Entry::~Entry() {
  (previous_ == nullptr ? flows_.first_ : previous_->next_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

// Ending a relay wakes it in the loop's next turn: no entry goes while this walks over them.
void LiveFlows::end_changed(const Policy& policy) {
  for (Entry* entry = first_; entry != nullptr; entry = entry->next_) {
    const DecidedFlow& decided = entry->decided_;
    if (verdict_changes(*decided.policy, decided.rule, decided.facts, policy)) {
      entry->ender.end(EndReason::rules_changed);
    }
  }
}

bool verdict_changes(const Policy& old_policy, std::uint32_t old_rule, const Facts& facts,
                     const Policy& policy) {
  const Decision now = decide(policy.rules(), facts, Wait::over);
  return !policy.same_verdict(now.rule, old_policy, old_rule);
}

}  // namespace shunt
