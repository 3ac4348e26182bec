// SPDX-License-Identifier: GPL-2.0-only
#include "policy/hit_counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace shunt {
namespace {

using testing::ElementsAre;

std::shared_ptr<const Ruleset> rules(const std::vector<std::string>& texts,
                                     std::string fallback = "direct") {
  PolicySource source;
  source.fallback.text = std::move(fallback);
  for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
  return Ruleset::compile(std::move(source)).value();
}

TEST(HitCounters, count_each_rule) {
  const auto one = rules({"port 80 -> reject"});
  HitCounters hits(*one);
  hits.hit(1);
  hits.hit(1);
  hits.hit(0);
  EXPECT_EQ(hits.hits(1), 2U);
  EXPECT_EQ(hits.hits(0), 1U);
}

TEST(SameRules, are_found_by_text_and_occurrence) {
  const auto before = rules({"port 1 -> drop", "port 2 -> drop", "port 1 -> drop"});
  const auto after = rules(
      {"port 3 -> drop", "port 1 -> drop", "port 1 -> drop", "port 1 -> drop", "port 2 -> reject"});
  EXPECT_THAT(same_rules(*before, *after),
              ElementsAre(0, kNoSuchRule, 1, 3, kNoSuchRule, kNoSuchRule));
}

TEST(SameRules, the_default_is_the_same_while_it_does_the_same) {
  EXPECT_THAT(same_rules(*rules({}, "drop"), *rules({}, "drop")), ElementsAre(0));
  EXPECT_THAT(same_rules(*rules({}, "drop"), *rules({}, "reject")), ElementsAre(kNoSuchRule));
}

TEST(HitCounters, of_rules_that_stay_go_on_and_miss_nothing) {
  const auto before = rules({"port 1 -> drop", "port 2 -> drop"});
  const auto after = rules({"port 2 -> drop", "port 3 -> drop"});
  HitCounters old_hits(*before);
  old_hits.hit(2);
  HitCounters hits(*after, *before, old_hits);
  old_hits.hit(2);  // a flow that the old rules were deciding when the new ones came
  hits.hit(1);
  hits.hit(2);
  EXPECT_EQ(hits.hits(1), 3U);
  EXPECT_EQ(hits.hits(2), 1U);
  EXPECT_EQ(hits.since(1), old_hits.since(2));
  EXPECT_GE(hits.since(2), old_hits.since(2));
}

}  // namespace
}  // namespace shunt
