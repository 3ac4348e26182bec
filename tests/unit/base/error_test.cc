// SPDX-License-Identifier: GPL-2.0-only
#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

#include "base/error_numbers.h"

namespace shunt {
namespace {

TEST(Error, exit_codes_are_those_of_the_manual) {
  EXPECT_EQ(exit_code(Kind::runtime), 1);
  EXPECT_EQ(exit_code(Kind::usage), 2);
  EXPECT_EQ(exit_code(Kind::configuration), 3);
  EXPECT_EQ(exit_code(Kind::privilege), 4);
  EXPECT_EQ(exit_code(Kind::unsupported), 5);
  EXPECT_EQ(exit_code(Kind::unreachable), 6);
  EXPECT_EQ(exit_code(Kind::conflict), 7);
}

TEST(Error, a_denied_system_call_is_a_missing_privilege) {
  EXPECT_EQ(errno_error("bind", EACCES).kind, Kind::privilege);
  EXPECT_EQ(errno_error("bind", EADDRINUSE).kind, Kind::runtime);
  EXPECT_EQ(errno_error("bind", EADDRINUSE).text(), "bind: Address already in use");
}

TEST(Error, context_goes_in_front) {
  EXPECT_EQ(with_context(make_error(Kind::runtime, "no route"), "br-lan").text(),
            "br-lan: no route");
}

TEST(ErrorNumbers, each_is_there_once_and_explained) {
  std::set<int> seen;
  for (const NumberedError& error : kNumberedErrors) {
    EXPECT_TRUE(seen.insert(error.number).second) << error.number;
    EXPECT_FALSE(error.meaning.empty()) << error.number;
  }
}

}  // namespace
}  // namespace shunt
