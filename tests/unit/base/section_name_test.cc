// SPDX-License-Identifier: GPL-2.0-only
#include "base/section_name.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

TEST(SectionName, is_made_of_letters_digits_and_three_signs) {
  for (const char* name : {"a", "wan-2", "eu_1.Paris", "0"}) EXPECT_TRUE(is_section_name(name));
  for (const char* name : {"", " ", "a b", "a/b", "\"", "caf\xc3\xa9", "a\n"}) {
    EXPECT_FALSE(is_section_name(name)) << name;
  }
}

}  // namespace
}  // namespace shunt
