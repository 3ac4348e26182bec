// SPDX-License-Identifier: GPL-2.0-only
#include "base/suggest.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace shunt {
namespace {

constexpr std::array<std::string_view, 6> kWords = {"interface", "host", "method",
                                                    "exclude",   "json", "via"};

TEST(Suggest, slips_of_the_finger_are_recognised) {
  EXPECT_EQ(closest_word("interfce", kWords), "interface");
  EXPECT_EQ(closest_word("jsno", kWords), "json");
  EXPECT_EQ(closest_word("JSON", kWords), "json");
  EXPECT_EQ(closest_word("metod", kWords), "method");
  EXPECT_EQ(closest_word("hosts", kWords), "host");
}

TEST(Suggest, the_beginning_of_one_word_is_enough) {
  EXPECT_EQ(closest_word("inter", kWords), "interface");
  EXPECT_EQ(closest_word("ex", kWords), "exclude");
}

TEST(Suggest, a_far_word_is_not_suggested) {
  EXPECT_EQ(closest_word("verbose", kWords), "");
  EXPECT_EQ(closest_word("x", kWords), "");
  EXPECT_EQ(closest_word("", kWords), "");
  EXPECT_EQ(closest_word(std::string(100'000, 'a'), kWords), "");
}

}  // namespace
}  // namespace shunt
