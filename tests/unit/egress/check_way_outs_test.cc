// SPDX-License-Identifier: GPL-2.0-only
#include "egress/check_way_outs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> mistakes(const std::vector<WayOutSpec>& specs) {
  std::vector<std::string> texts;
  for (const Error& error : way_out_mistakes(specs, 0xff000000)) texts.push_back(error.message);
  return texts;
}

TEST(WayOutMistakes, of_all_ways_out_are_told_at_once) {
  EXPECT_THAT(mistakes({{.name = "a b"},
                        {.name = "b", .mark = 0x01000000, .source = {Address::any(Family::ipv4)}},
                        {.name = "c", .proxy = "gopher://x:1", .password_file = "p"},
                        {.name = "d", .via = {"nowhere", "b", "neither"}}}),
              ElementsAre(HasSubstr("a name is made of"), HasSubstr("\"b\", mark: "),
                          HasSubstr("\"b\", source: "), HasSubstr("\"c\", proxy: "),
                          HasSubstr("\"d\", via: unknown way out \"nowhere\""),
                          HasSubstr("\"d\", via: unknown way out \"neither\"")));
}

TEST(WayOutMistakes, tell_each_cycle_once) {
  EXPECT_THAT(mistakes({{.name = "a", .via = {"b"}},
                        {.name = "b", .via = {"a"}},
                        {.name = "c", .via = {"a"}},
                        {.name = "d", .group = GroupKind::failover, .members = {"d"}}}),
              ElementsAre(HasSubstr("leads through itself: \"a\" -> \"b\" -> \"a\""),
                          HasSubstr("leads through itself: \"d\" -> \"d\"")));
}

TEST(WayOutMistakes, are_none_where_nothing_is_wrong) {
  EXPECT_THAT(mistakes({{.name = "a"}, {.name = "b", .via = {"a", "direct"}}}), ElementsAre());
}

}  // namespace
}  // namespace shunt
