// SPDX-License-Identifier: GPL-2.0-only
#include "policy/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/policy/rules_fixture.h"

namespace shunt {
namespace {

using Outcome = RuleExplanation::Outcome;

constexpr std::string_view kWeb = "198.51.100.7:443";

TEST(Explain, says_which_term_kept_each_earlier_rule_from_matching) {
  const auto rules = compiled({"port 80,8080 -> wan2", "to 198.51.100.0/24 not port 443 -> office",
                               "host *.a.example -> wan2", "port 443 -> reject", "-> drop"});
  const Explanation why = explain(*rules, named(flow_to(kWeb), "b.example"));
  EXPECT_EQ(why.decision.rule, 4U);
  ASSERT_EQ(why.rules.size(), 4U);
  EXPECT_EQ(why.rules[0].outcome, Outcome::not_matched);
  EXPECT_EQ(why.rules[0].term, "port 80,8080");
  EXPECT_EQ(why.rules[0].seen, "443");
  EXPECT_EQ(why.rules[1].term, "not port 443");
  EXPECT_EQ(why.rules[2].term, "host *.a.example");
  EXPECT_EQ(why.rules[2].seen, "b.example");
  EXPECT_EQ(why.rules[3].outcome, Outcome::matched);
}

TEST(Explain, says_what_is_not_known_yet) {
  const auto rules = compiled({"process curl host a.example -> wan2", "port 443 -> office"});
  const Explanation why = explain(*rules, flow_to(kWeb));
  EXPECT_EQ(needs_text(why.decision.needs), "the host name and the process");
  ASSERT_EQ(why.rules.size(), 2U);
  EXPECT_EQ(why.rules[0].outcome, Outcome::undecided);
  EXPECT_EQ(why.rules[0].term, "process curl");
  EXPECT_EQ(why.rules[0].seen, "not known yet");
  EXPECT_TRUE(why.rules[0].needs.has(Needs::kProcess));
}

TEST(Explain, prefers_a_term_that_says_no_to_one_that_waits) {
  const auto rules = compiled({"host a.example port 80 -> wan2"});
  const Explanation why = explain(*rules, flow_to(kWeb));
  ASSERT_EQ(why.rules.size(), 1U);
  EXPECT_EQ(why.rules[0].outcome, Outcome::not_matched);
  EXPECT_EQ(why.rules[0].term, "port 80");
}

TEST(Explain, shows_what_every_kind_of_term_looked_at) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"client 10.0.0.0/8", "192.0.2.10"},
      {"client-port 1-1023", "50000"},
      {"proto udp", "tcp"},
      {"app tls", "not known"},
      {"method GET", "not known"},
      {"uid 0", "not known"},
      {"unit cron", "not known"},
      {"in lan0", "none: it is this machine's own"},
      {"time tue", "mon 00:00"},
  };
  for (const auto& [term, seen] : cases) {
    Facts facts = flow_to(kWeb);
    facts.interface = "";
    const auto rules = compiled({term + " -> wan2"});
    const Explanation why = explain(*rules, facts, Wait::over);
    ASSERT_EQ(why.rules.size(), 1U);
    EXPECT_EQ(why.rules[0].term, term);
    EXPECT_TRUE(why.rules[0].seen.starts_with(seen)) << term << ": " << why.rules[0].seen;
  }
}

TEST(Explain, follows_a_name_that_was_not_believed) {
  const auto rules = compiled({"host good.example -> direct", "port 443 -> reject"});
  const Explanation why = explain(*rules, named(flow_to(kWeb), "good.example", false), Wait::over);
  EXPECT_TRUE(why.decision.name_mismatch);
  ASSERT_EQ(why.rules.size(), 2U);
  EXPECT_EQ(why.rules[0].outcome, Outcome::not_matched);
  EXPECT_EQ(why.rules[0].seen, "good.example (not verified)");
  EXPECT_EQ(why.rules[1].outcome, Outcome::matched);
}

}  // namespace
}  // namespace shunt
