// SPDX-License-Identifier: GPL-2.0-only
#include "cli/rules_change.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <set>
#include <vector>

namespace shunt::cli {
namespace {

std::multiset<std::string> texts_of(const Ruleset& rules) {
  std::multiset<std::string> texts;
  for (std::uint32_t number = 1; number <= rules.size(); ++number) {
    texts.insert(rules.rule(number).text);
  }
  return texts;
}

/// How many rules of `a` have no like in `b`.
std::size_t only_in(const std::multiset<std::string>& a, const std::multiset<std::string>& b) {
  std::vector<std::string> out;
  std::ranges::set_difference(a, b, std::back_inserter(out));
  return out.size();
}

}  // namespace

std::string rules_change_text(const Ruleset& before, const Ruleset& after) {
  const auto old_texts = texts_of(before);
  const auto new_texts = texts_of(after);
  return fmt::format("{} new, {} gone", only_in(new_texts, old_texts),
                     only_in(old_texts, new_texts));
}

}  // namespace shunt::cli
