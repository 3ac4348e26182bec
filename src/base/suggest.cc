// SPDX-License-Identifier: GPL-2.0-only
#include "base/suggest.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <vector>

namespace shunt {
namespace {

constexpr std::size_t kLongestWord = 64;  // an edit distance costs the product of the lengths

/// Optimal string alignment: Levenshtein's distance, where swapping neighbours counts once.
std::size_t distance(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<std::size_t> table((a.size() + 1) * width);
  const auto at = [&](std::size_t i, std::size_t j) -> std::size_t& {
    return table[i * width + j];
  };
  for (std::size_t i = 0; i <= a.size(); ++i) at(i, 0) = i;
  for (std::size_t j = 0; j <= b.size(); ++j) at(0, j) = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = at(i - 1, j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1);
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
      }
    }
  }
  return at(a.size(), b.size());
}

std::string_view only_completion(std::string_view word,
                                 std::span<const std::string_view> candidates) {
  std::string_view found;
  for (const std::string_view candidate : candidates) {
    if (!candidate.starts_with(word)) continue;
    if (!found.empty()) return {};
    found = candidate;
  }
  return found;
}

}  // namespace

std::string_view closest_word(std::string_view word, std::span<const std::string_view> candidates) {
  if (word.size() < 2 || word.size() > kLongestWord) return {};
  const auto same = std::ranges::find_if(candidates, [word](std::string_view candidate) {
    return std::ranges::equal(word, candidate, [](unsigned char a, unsigned char b) {
      return std::tolower(a) == std::tolower(b);
    });
  });
  if (same != candidates.end()) return *same;
  if (const auto completion = only_completion(word, candidates); !completion.empty()) {
    return completion;
  }
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const std::size_t edits = distance(word, candidate);
    if (edits >= best_distance || edits >= candidate.size()) continue;
    best = candidate;
    best_distance = edits;
  }
  return best;
}

}  // namespace shunt
