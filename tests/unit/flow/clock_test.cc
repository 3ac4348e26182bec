// SPDX-License-Identifier: GPL-2.0-only
#include "flow/clock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>

namespace shunt {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;

TEST(Clock, what_lasted_longer_than_32_bits_of_milliseconds_is_told_in_full) {
  const std::uint64_t took = ms_since(Clock::now() - days(60));
  EXPECT_GE(took, 60ULL * 24 * 3600 * 1000);
  EXPECT_EQ(ms_since(Clock::now() + days(1)), 0U);
}

TEST(Clock, what_is_left_is_never_negative_and_no_begun_millisecond_is_lost) {
  EXPECT_EQ(ms_until(Clock::now() - days(1)), 0U);
  EXPECT_GT(ms_until(Clock::now() + milliseconds(1000)), 900U);
  EXPECT_LE(ms_until(Clock::now() + milliseconds(1000)), 1000U);
  EXPECT_EQ(ms_until(Clock::now() + days(60)), std::numeric_limits<std::uint32_t>::max());
}

}  // namespace
}  // namespace shunt
