// SPDX-License-Identifier: GPL-2.0-only
#include "config/mistake_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace shunt {
namespace {

std::vector<std::string> ordered(const std::vector<std::string>& places) {
  std::vector<Error> mistakes;
  for (const std::string& place : places) {
    mistakes.push_back(make_error(Kind::configuration, place));
    mistakes.back().place = place;
  }
  order_by_place(mistakes, "a.toml");
  std::vector<std::string> out;
  for (const Error& mistake : mistakes) out.push_back(mistake.message);
  return out;
}

TEST(MistakeOrder, is_that_of_the_file) {
  EXPECT_THAT(
      ordered({"a.toml:10:1\n10 | x", "a.toml:9:12\n9 | y", "a.toml:9:2\n9 | y"}),
      testing::ElementsAre("a.toml:9:2\n9 | y", "a.toml:9:12\n9 | y", "a.toml:10:1\n10 | x"));
}

TEST(MistakeOrder, leaves_what_stands_elsewhere_for_the_end) {
  EXPECT_THAT(ordered({"", "ads.txt:1:1\n", "a.toml:3:1\n", "a.toml\nfile | x", "a.toml:2:1\n"}),
              testing::ElementsAre("a.toml:2:1\n", "a.toml:3:1\n", "", "ads.txt:1:1\n",
                                   "a.toml\nfile | x"));
}

}  // namespace
}  // namespace shunt
