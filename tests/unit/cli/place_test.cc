// SPDX-License-Identifier: GPL-2.0-only
#include "cli/place.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

namespace shunt::cli {
namespace {

using Words = std::vector<std::string_view>;

TEST(Place, the_carets_stand_below_the_span) {
  EXPECT_EQ(point_at("run", Words{"-o", "--via=x", "ls"}, {.argument = 1, .first = 6, .length = 1}),
            "shunt run -o --via=x ls\n"
            "                   ^");
}

TEST(Place, the_end_of_the_line_can_be_pointed_at) {
  EXPECT_EQ(point_at("run", Words{}, {.argument = 0, .first = 0, .length = 1}),
            "shunt run\n"
            "          ^");
}

TEST(Place, characters_of_several_bytes_take_one_column) {
  EXPECT_EQ(point_at("run", Words{"größe", "-x"}, {.argument = 1, .first = 0, .length = 2}),
            "shunt run größe -x\n"
            "                ^^");
}

TEST(Place, a_long_line_is_cut_on_both_sides) {
  const std::string before(300, 'a');
  const std::string behind(300, 'b');
  const std::string place =
      point_at("run", Words{before, "-x", behind}, {.argument = 1, .first = 0, .length = 2});
  std::istringstream lines(place);
  std::string line;
  std::string carets;
  std::getline(lines, line);
  std::getline(lines, carets);
  EXPECT_LE(display_width(line), 100U);
  EXPECT_EQ(line.substr(0, 3), "…");
  EXPECT_EQ(line.substr(line.size() - 3), "…");
  EXPECT_EQ(display_width(line.substr(0, line.find("-x"))), carets.find('^'));
}

}  // namespace
}  // namespace shunt::cli
