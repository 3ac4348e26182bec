// SPDX-License-Identifier: GPL-2.0-only
// The clock of deadlines and of how long things took.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

namespace shunt {

using Clock = std::chrono::steady_clock;

/// Milliseconds until then, rounded up; 0 when it has passed.
inline std::uint32_t ms_until(Clock::time_point when) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - Clock::now()).count();
  constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 0, kMost));
}

/// Whole milliseconds since then; 64 bits, since 32 last for 49.7 days and flows may live longer.
inline std::uint64_t ms_since(Clock::time_point start) {
  const auto passed =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
  return static_cast<std::uint64_t>(std::max<std::int64_t>(passed, 0));
}

}  // namespace shunt
