// SPDX-License-Identifier: GPL-2.0-only
#include "rule/classid.h"

#include <gtest/gtest.h>

#include <string_view>

namespace shunt {
namespace {

TEST(Classid, is_read_as_tc_and_the_kernel_write_it) {
  EXPECT_EQ(parse_classid("1:10"), 0x10010U);
  EXPECT_EQ(parse_classid("ffff:ffff"), 0xffffffffU);
  EXPECT_EQ(parse_classid("10:0"), 0x100000U);
  EXPECT_EQ(parse_classid("0x10010"), 0x10010U);
  EXPECT_EQ(parse_classid("65552"), 0x10010U);
}

TEST(Classid, is_nothing_else) {
  for (const std::string_view text : {"", "0", "0x0", "0:0", ":", "1:", ":1", "1:2:3", "10000:1",
                                      "1:10000", "x", "0xg", "-1", "4294967296", "1 ", " 1"}) {
    EXPECT_FALSE(parse_classid(text)) << text;
  }
}

}  // namespace
}  // namespace shunt
