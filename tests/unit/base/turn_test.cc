// SPDX-License-Identifier: GPL-2.0-only
#include "base/turn.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>

namespace shunt {
namespace {

TEST(Turn, is_had_by_so_many_at_the_same_time) {
  std::atomic<int> running = 0;
  std::optional<Turn> first(std::in_place, running, 2);
  const Turn second(running, 2);
  EXPECT_TRUE(first->taken());
  EXPECT_TRUE(second.taken());
  EXPECT_FALSE(Turn(running, 2).taken());
  first.reset();
  EXPECT_TRUE(Turn(running, 2).taken());
  EXPECT_EQ(running, 1) << "those that were not had count no longer";
}

}  // namespace
}  // namespace shunt
