// SPDX-License-Identifier: GPL-2.0-only
#include "policy/kernel_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "unit/policy/rules_fixture.h"

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// "leave 2: port 123", "capture 1: to 192.0.2.0/24".
std::vector<std::string> shown(std::vector<std::string> texts) {
  std::vector<std::string> out;
  for (const KernelRule& rule : kernel_rules(*compiled(std::move(texts)))) {
    std::string text = rule.effect == KernelRule::Effect::leave ? "leave " : "capture ";
    text += std::to_string(rule.rule) + ":";
    for (const Term& term : rule.terms) {
      text += " " + rule.text.substr(term.span.first, term.span.length);
    }
    out.push_back(text);
  }
  return out;
}

TEST(KernelRules, leave_what_is_plainly_direct) {
  EXPECT_THAT(shown({"to 192.0.2.0/24 port 80 -> direct", "proto udp port 123 -> direct",
                     "uid 1000 -> direct", "in lan0 -> direct"}),
              ElementsAre("leave 1: to 192.0.2.0/24 port 80", "leave 2: proto udp port 123",
                          "leave 3: uid 1000", "leave 4: in lan0"));
}

TEST(KernelRules, do_not_leave_what_needs_a_look_or_may_fall_back) {
  EXPECT_THAT(shown({"host a.example -> direct", "port 80 app http -> direct",
                     "port 80 -> direct else wan2", "not port 80 -> direct",
                     "to 10.0.0.0/8 time sat -> direct"}),
              IsEmpty());
}

TEST(KernelRules, capture_what_an_earlier_rule_decides_otherwise) {
  EXPECT_THAT(shown({"client 192.0.2.10 -> wan2", "port 80 -> direct"}),
              ElementsAre("capture 1: client 192.0.2.10", "leave 2: port 80"));
}

TEST(KernelRules, capture_more_than_an_earlier_rule_where_the_kernel_cannot_see_it_all) {
  EXPECT_THAT(shown({"host a.example port 443 -> reject", "to 192.0.2.0/24 -> direct"}),
              ElementsAre("capture 1: port 443", "leave 2: to 192.0.2.0/24"));
  EXPECT_THAT(shown({"to 192.0.2.0/25 not port 80 -> wan2", "to 192.0.2.0/24 -> direct"}),
              ElementsAre("capture 1: to 192.0.2.0/25", "leave 2: to 192.0.2.0/24"));
}

TEST(KernelRules, end_at_a_rule_that_may_decide_anything_otherwise) {
  EXPECT_THAT(shown({"port 22 -> direct", "host a.example -> reject", "port 80 -> direct"}),
              ElementsAre("leave 1: port 22"));
  EXPECT_THAT(shown({"not port 22 -> wan2", "port 22 -> direct"}), IsEmpty());
  // Started anew, a service has a cgroup of another number: the kernel would not see it.
  EXPECT_THAT(shown({"cgroup /a.slice -> reject", "port 80 -> direct"}), IsEmpty());
}

TEST(KernelRules, pass_over_earlier_rules_that_say_direct_as_well) {
  EXPECT_THAT(shown({"host a.example -> direct", "port 80 -> direct"}),
              ElementsAre("leave 2: port 80"));
}

TEST(KernelRules, leave_out_captures_that_meet_no_later_rule) {
  EXPECT_THAT(shown({"port 443 -> wan2", "port 80 -> direct", "port 25 -> reject"}),
              ElementsAre("leave 2: port 80"));
  EXPECT_THAT(shown({"proto tcp to 192.0.2.1 -> wan2", "proto udp -> direct"}),
              ElementsAre("leave 2: proto udp"));
  EXPECT_THAT(shown({"port 443 -> wan2"}), IsEmpty());
}

TEST(KernelRules, leave_by_cgroup) {
  EXPECT_THAT(shown({"cgroup /a.slice -> direct"}), ElementsAre("leave 1: cgroup /a.slice"));
}

}  // namespace
}  // namespace shunt
