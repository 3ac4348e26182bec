// SPDX-License-Identifier: GPL-2.0-only
#include "base/terminal.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "unit/support/pseudo_terminal.h"

namespace shunt {
namespace {

TEST(Terminal, raw_mode_needs_carriage_returns) {
  const test::PseudoTerminal terminal;
  if (!terminal.valid()) GTEST_SKIP() << "needs pseudo-terminals";
  EXPECT_EQ(with_line_ends_for(terminal.fd(), "one\ntwo\n"), "one\ntwo\n");
  terminal.make_raw();
  EXPECT_EQ(with_line_ends_for(terminal.fd(), "one\ntwo\n"), "one\r\ntwo\r\n");
  EXPECT_EQ(with_line_ends_for(terminal.fd(), ""), "");
}

TEST(Terminal, whatever_is_no_terminal_gets_the_text_as_it_is) {
  EXPECT_EQ(with_line_ends_for(-1, "one\n"), "one\n");
}

TEST(WantsColour, only_on_a_terminal) {
  EXPECT_FALSE(wants_colour(-1));
  const test::PseudoTerminal terminal;
  if (!terminal.valid()) GTEST_SKIP() << "needs pseudo-terminals";
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  EXPECT_TRUE(wants_colour(terminal.fd()));
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(wants_colour(terminal.fd()));
  ::unsetenv("NO_COLOR");
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(wants_colour(terminal.fd()));
}

}  // namespace
}  // namespace shunt
