// SPDX-License-Identifier: GPL-2.0-only
#include "observe/shown.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "unit/observe/json_checker.h"

namespace shunt {
namespace {

std::string json(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(Shown, harmless_text_stays_as_it_is) {
  for (const char* text : {"", "www.example.com", "/path?q=1&r={}", "日本語 ü 🙂 ελ", "'\"`$"}) {
    EXPECT_EQ(shown(text), text);
  }
  EXPECT_EQ(json("日本 ü 🙂"), "\"日本 ü 🙂\"");
}

TEST(Shown, controls_and_terminal_escapes_are_spelt_out) {
  EXPECT_EQ(shown("a\nb\x1b[2J"), "a\\x0ab\\x1b[2J");
  EXPECT_EQ(shown(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(shown("back\\slash\xff"), "back\\\\slash\\xff");
  EXPECT_EQ(json("\"\\\n\x1b\xc2\x9b"), "\"\\\"\\\\\\u000a\\u001b\\u009b\"");
}

TEST(Shown, characters_that_do_not_show_are_spelt_out) {
  EXPECT_EQ(shown("a\u202eb\u200b"), "a\\xe2\\x80\\xaeb\\xe2\\x80\\x8b");
  EXPECT_EQ(json("\u202e\U000e0041"), "\"\\u202e\\udb40\\udc41\"");
  EXPECT_EQ(json("a\xff"
                 "b"),
            "\"a\\ufffdb\"");
}

TEST(Shown, text_cannot_imitate_a_line) {
  EXPECT_EQ(shown("OK    12:00:00 ← 200 ✗"),
            "OK \\x20 \\x2012:00:00 \\xe2\\x86\\x90 200 \\xe2\\x9c\\x97");
}

TEST(Shown, every_code_point_gives_valid_json) {
  for (char32_t value = 0; value < 0x110000; ++value) {
    std::string text;
    const auto add = [&text](char32_t byte) { text += static_cast<char>(byte); };
    if (value < 0x80) {
      add(value);
    } else if (value < 0x800) {
      add(0xc0 | value >> 6), add(0x80 | (value & 0x3f));
    } else if (value < 0x10000) {
      add(0xe0 | value >> 12), add(0x80 | (value >> 6 & 0x3f)), add(0x80 | (value & 0x3f));
    } else {
      add(0xf0 | value >> 18), add(0x80 | (value >> 12 & 0x3f));
      add(0x80 | (value >> 6 & 0x3f)), add(0x80 | (value & 0x3f));
    }
    ASSERT_TRUE(is_strict_json(json(text))) << static_cast<std::uint32_t>(value);
  }
}

TEST(Shown, long_text_is_cut_and_says_so) {
  const std::string limit(limits::kLogTextBytes, 'x');
  EXPECT_EQ(shown(limit), limit);
  EXPECT_EQ(shown(limit + "y"), limit + "…");
  std::string wide;
  while (wide.size() < 2 * limits::kLogTextBytes) wide += "語";
  const std::string cut = shown(wide);
  EXPECT_TRUE(is_strict_json('"' + cut + '"')) << "cut within a character";
  EXPECT_TRUE(cut.ends_with("…"));
}

}  // namespace
}  // namespace shunt
