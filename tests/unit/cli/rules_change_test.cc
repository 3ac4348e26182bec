// SPDX-License-Identifier: GPL-2.0-only
#include "cli/rules_change.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace shunt::cli {
namespace {

std::shared_ptr<const Ruleset> rules(const std::vector<std::string>& texts) {
  PolicySource source;
  source.fallback.text = "direct";
  for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
  return Ruleset::compile(std::move(source)).value();
}

TEST(RulesChange, counts_what_has_no_like_on_the_other_side) {
  const auto before = rules({"port 1 -> reject", "port 2 -> reject", "port 2 -> reject"});
  const auto after = rules({"port 2 -> reject", "port 3 -> reject"});
  EXPECT_EQ(rules_change_text(*before, *after), "1 new, 2 gone");
  EXPECT_EQ(rules_change_text(*after, *after), "0 new, 0 gone");
}

}  // namespace
}  // namespace shunt::cli
