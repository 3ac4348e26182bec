// SPDX-License-Identifier: GPL-2.0-only
#include "policy/hit_counters.h"

#include <deque>
#include <string_view>
#include <unordered_map>

namespace shunt {

std::vector<std::uint32_t> same_rules(const Ruleset& before, const Ruleset& after) {
  std::unordered_map<std::string_view, std::deque<std::uint32_t>> numbers;
  for (std::uint32_t number = 1; number <= before.size(); ++number) {
    numbers[before.rule(number).text].push_back(number);
  }
  std::vector<std::uint32_t> same(after.size() + 1, kNoSuchRule);
  if (before.verdict_text(0) == after.verdict_text(0)) same[0] = 0;
  for (std::uint32_t number = 1; number <= after.size(); ++number) {
    const auto found = numbers.find(after.rule(number).text);
    if (found == numbers.end() || found->second.empty()) continue;
    same[number] = found->second.front();
    found->second.pop_front();
  }
  return same;
}

HitCounters::HitCounters(const Ruleset& rules) {
  for (std::uint32_t rule = 0; rule <= rules.size(); ++rule) {
    cells_.push_back(std::make_shared<Cell>());
  }
}

HitCounters::HitCounters(const Ruleset& rules, const Ruleset& rules_before,
                         const HitCounters& before) {
  for (const std::uint32_t rule : same_rules(rules_before, rules)) {
    cells_.push_back(rule == kNoSuchRule ? std::make_shared<Cell>() : before.cells_[rule]);
  }
}

}  // namespace shunt
