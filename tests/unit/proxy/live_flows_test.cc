// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/live_flows.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "egress/direct.h"

namespace shunt {
namespace {

std::shared_ptr<const Policy> policy_with(std::vector<RuleSource> rules) {
  PolicySource source;
  source.fallback.text = "direct";
  source.rules = std::move(rules);
  return Policy::create(Ruleset::compile(std::move(source)).value(), {make_direct({})});
}

DecidedFlow decided_by(std::shared_ptr<const Policy> policy) {
  DecidedFlow flow{.policy = std::move(policy), .facts = {}};
  flow.facts.destination = *Endpoint::parse("192.0.2.1:80");
  return flow;
}

TEST(LiveFlows, what_the_rules_change_for_is_ended_also_where_it_was_still_being_decided) {
  LiveFlows flows;
  const DecidedFlow decided = decided_by(policy_with({}));
  const auto denying = policy_with({{.text = "port 80 -> reject", .place = {}}});
  LiveFlows::Entry early(flows, decided);
  flows.end_changed(denying);
  EXPECT_TRUE(early.ender.ended().has_value());
  const LiveFlows::Entry late(flows, decided);
  EXPECT_TRUE(late.ender.ended().has_value());
}

// It would keep its ways out alive, and with them what the kernel has for them.
TEST(LiveFlows, no_policy_is_kept_that_no_flow_is_decided_by) {
  LiveFlows flows;
  auto policy = policy_with({});
  const std::weak_ptr<const Policy> watched = policy;
  flows.end_changed(policy);
  policy.reset();
  EXPECT_TRUE(watched.expired());
  const DecidedFlow decided = decided_by(policy_with({}));
  const LiveFlows::Entry entry(flows, decided);
  EXPECT_FALSE(entry.ender.ended().has_value());
}

}  // namespace
}  // namespace shunt
