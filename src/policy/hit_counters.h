// SPDX-License-Identifier: GPL-2.0-only
// How often each rule decided. Beside the Ruleset, so that it can stay immutable; any thread.
//
// A rule that a reload leaves as it was counts on, though its number may be another by then: the
// old and the new counters share its cell, so that what is decided by the old rules meanwhile is
// not lost.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "policy/ruleset.h"

namespace shunt {

inline constexpr std::uint32_t kNoSuchRule = 0xffff'ffff;

/// For each rule of `after` (0: the fallback) the one of `before` that is written the same, or
/// kNoSuchRule. Of rules that are written alike, the first is the first, and so on.
[[nodiscard]] std::vector<std::uint32_t> same_rules(const Ruleset& before, const Ruleset& after);

class HitCounters {
 public:
  using Clock = std::chrono::system_clock;

  explicit HitCounters(const Ruleset& rules);
  /// `before` are the counters of `rules_before`; same_rules() count on.
  HitCounters(const Ruleset& rules, const Ruleset& rules_before, const HitCounters& before);

  void hit(std::uint32_t rule) { cells_[rule]->hits.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t hits(std::uint32_t rule) const {
    return cells_[rule]->hits.load(std::memory_order_relaxed);
  }
  /// When the rule was loaded first.
  [[nodiscard]] Clock::time_point since(std::uint32_t rule) const { return cells_[rule]->since; }

 private:
  struct Cell {
    std::atomic<std::uint64_t> hits = 0;
    Clock::time_point since = Clock::now();
  };
  std::vector<std::shared_ptr<Cell>> cells_;
};

}  // namespace shunt
