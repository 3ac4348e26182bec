// SPDX-License-Identifier: GPL-2.0-only
#include "cli/kernel_decisions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/policy/rules_fixture.h"

namespace shunt::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(KernelDecisions, are_rules_as_nftables_matches) {
  const auto rules =
      compiled({"host a.example client 192.0.2.10 -> wan2", "proto udp port 123 -> direct",
                "cgroup /no/such/cgroup -> direct", "uid 0 in lan0 -> direct"});
  const auto decisions = kernel_decisions(*rules);
  ASSERT_EQ(decisions.size(), 2U);
  EXPECT_FALSE(decisions[0].leave);
  EXPECT_EQ(decisions[0].rule, 1U);
  EXPECT_THAT(decisions[0].match.own, ElementsAre("ip saddr 192.0.2.10"));
  EXPECT_TRUE(decisions[1].leave);
  EXPECT_EQ(decisions[1].rule, 2U);
  EXPECT_THAT(decisions[1].match.forwarded, ElementsAre("meta l4proto udp th dport 123"));
}

TEST(KernelDecisions, of_rules_that_need_a_look_are_none) {
  EXPECT_THAT(kernel_decisions(*compiled({"host a.example -> direct"})), IsEmpty());
}

}  // namespace
}  // namespace shunt::cli
