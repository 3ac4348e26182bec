// SPDX-License-Identifier: GPL-2.0-only
#include "base/escape.h"

#include <gtest/gtest.h>

#include <string>

namespace shunt {
namespace {

using namespace std::string_literals;

TEST(Escape, printable_text_stays) {
  EXPECT_EQ(escaped("GET /a?b=c"), "GET /a?b=c");
  EXPECT_EQ(escaped("grüße → 日本 🦊"), "grüße → 日本 🦊");
}

TEST(Escape, control_bytes_become_visible) {
  EXPECT_EQ(escaped("a\nb\r\t\033[2J\x7f"), "a\\x0ab\\x0d\\x09\\x1b[2J\\x7f");
  EXPECT_EQ(escaped("\0x"s), "\\x00x");
}

TEST(Escape, c1_controls_in_utf8_become_visible) { EXPECT_EQ(escaped("\u009b"), "\\xc2\\x9b"); }

TEST(Escape, a_backslash_cannot_forge_an_escape) { EXPECT_EQ(escaped("\\x1b"), "\\\\x1b"); }

TEST(Escape, bytes_that_are_not_utf8_become_visible) {
  EXPECT_EQ(escaped("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(escaped("\xc0\x80"), "\\xc0\\x80");           // overlong
  EXPECT_EQ(escaped("\xe2\x82"), "\\xe2\\x82");           // cut short
  EXPECT_EQ(escaped("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(escaped("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(Escape, characters_that_reorder_a_line_become_visible) {
  EXPECT_EQ(escaped("\u202egpj.exe"), "\\xe2\\x80\\xaegpj.exe");
}

TEST(Escape, characters_that_do_not_show_become_visible) {
  for (const char* text : {"\u200b", "\u2066", "\ufeff", "\u00ad", "\U000e0041", "\ufe0f", "\u3164",
                           "\u0301", "\ue0b0", "\U0010fffd"}) {
    EXPECT_TRUE(escaped(text).starts_with("\\x")) << text;
  }
}

TEST(Escape, no_byte_string_yields_a_control_byte) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text = {static_cast<char>(first), static_cast<char>(second)};
      for (const char byte : escaped(text)) {
        const auto value = static_cast<unsigned char>(byte);
        ASSERT_TRUE(value >= 0x20 && value != 0x7f) << first << " " << second;
      }
    }
  }
}

}  // namespace
}  // namespace shunt
