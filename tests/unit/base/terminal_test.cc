// SPDX-License-Identifier: GPL-2.0-only
#include "base/terminal.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace shunt
