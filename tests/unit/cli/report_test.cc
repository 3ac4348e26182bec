// SPDX-License-Identifier: GPL-2.0-only
#include "cli/report.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace shunt::cli {
namespace {

TEST(Report, an_error_has_its_number_and_one_fix) {
  EXPECT_EQ(format_error(make_error(Kind::privilege, 4, "capturing a LAN needs CAP_NET_ADMIN",
                                    "sudo shunt gateway -i br-lan"),
                         false),
            "error[S004]: capturing a LAN needs CAP_NET_ADMIN\n"
            "  help: sudo shunt gateway -i br-lan\n");
}

TEST(Report, the_cause_of_the_kernel_is_named) {
  EXPECT_EQ(format_error(errno_error("listening on port 80", EADDRINUSE), false),
            "error: listening on port 80: Address already in use\n");
}

TEST(Report, further_lines_are_aligned) {
  Error error = make_error(Kind::usage, 2, "unknown option", "first\nsecond");
  error.place = "shunt -x\n      ^^";
  EXPECT_EQ(format_error(error, false),
            "error[S002]: unknown option\n"
            "  --> shunt -x\n"
            "            ^^\n"
            "  help: first\n"
            "        second\n");
}

TEST(Report, colour_adds_nothing_but_colour) {
  const std::string text = format_error(make_error(Kind::usage, 2, "message", "fix"), true);
  EXPECT_EQ(text, "\033[1;31merror[S002]:\033[0m message\n  \033[1;32mhelp:\033[0m fix\n");
}

TEST(Report, control_bytes_are_escaped) {
  EXPECT_EQ(format_error(make_error(Kind::runtime, "no \033[2J", "try \a"), false),
            "error: no \\x1b[2J\n  help: try \\x07\n");
}

}  // namespace
}  // namespace shunt::cli
