// SPDX-License-Identifier: GPL-2.0-only
#include "base/lru_map.h"

#include <gtest/gtest.h>

#include <string>

namespace shunt {
namespace {

TEST(LruMap, finds_what_was_set_last) {
  LruMap<int, std::string> map(2);
  map.set(1, "one");
  map.set(1, "uno");
  ASSERT_NE(map.find(1), nullptr);
  EXPECT_EQ(*map.find(1), "uno");
  EXPECT_EQ(map.find(2), nullptr);
  EXPECT_EQ(map.size(), 1U);
}

TEST(LruMap, displaces_what_was_not_used_for_longest) {
  LruMap<int, int> map(2);
  map.set(1, 10);
  map.set(2, 20);
  EXPECT_TRUE(map.full());
  EXPECT_NE(map.find(1), nullptr);
  EXPECT_EQ(map.oldest().first, 2);
  map.set(3, 30);
  EXPECT_EQ(map.find(2), nullptr);
  EXPECT_NE(map.find(1), nullptr);
  EXPECT_NE(map.find(3), nullptr);
}

TEST(LruMap, erases) {
  LruMap<int, int> map(1);
  map.set(1, 10);
  map.erase(2);
  map.erase(1);
  EXPECT_TRUE(map.empty());
  map.set(2, 20);
  EXPECT_NE(map.find(2), nullptr);
}

}  // namespace
}  // namespace shunt
