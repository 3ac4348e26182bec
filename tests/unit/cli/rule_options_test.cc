// SPDX-License-Identifier: GPL-2.0-only
#include "cli/rule_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "base/error_numbers.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "egress/direct.h"

namespace shunt::cli {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string_view>;

Result<std::shared_ptr<const Ruleset>> rules(Words words) {
  words.emplace_back("true");
  return rules_of(parse(kRunCommand, words).value());
}

TEST(RuleOptions, rules_keep_their_order_and_the_rest_goes_direct) {
  const auto two = rules({"--rule", "port 25 -> reject", "--rule=host a.example -> direct"});
  ASSERT_TRUE(two);
  EXPECT_EQ((*two)->size(), 2U);
  EXPECT_EQ((*two)->verdict_text(1), "reject");
  EXPECT_EQ((*two)->verdict_text(0), "direct");
  EXPECT_EQ(rules_text(**two), "by 2 rules; what none of them matches goes direct");
}

TEST(RuleOptions, proxy_takes_what_no_rule_matches) {
  const auto one =
      rules({"--via", "socks5://127.0.0.1:1", "--rule", "to 10.0.0.0/8 -> direct else via"});
  ASSERT_TRUE(one);
  EXPECT_EQ((*one)->verdict_text(0), "via");
  EXPECT_EQ(rules_text(**one), "by 1 rule; what it does not match goes via the proxy");
  const auto policy = policy_of(*one, make_direct({}), make_direct({}, "the proxy"));
  EXPECT_EQ(policy->carrier(0)->name(), "the proxy");
}

TEST(RuleOptions, without_rules_nothing_is_said_of_them) {
  const auto none = rules({});
  ASSERT_TRUE(none);
  EXPECT_EQ(rules_text(**none), "");
}

TEST(RuleOptions, mistakes_have_their_place) {
  const auto bad = rules({"--rule", "port 80 -> reject", "--rule", "prot tcp -> reject"});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().kind, Kind::usage);
  EXPECT_EQ(bad.error().number, error_number::kBadRule);
  EXPECT_THAT(bad.error().place, HasSubstr("prot tcp -> reject"));
  EXPECT_THAT(bad.error().place, HasSubstr("^^^^"));
}

TEST(RuleOptions, proxy_is_no_way_out_without_via) {
  const auto bad = rules({"--rule", "port 80 -> via"});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().number, error_number::kUnknownWayOut);
}

}  // namespace
}  // namespace shunt::cli
