// SPDX-License-Identifier: GPL-2.0-only
#include "net/host_name.h"

#include <gtest/gtest.h>

#include <string>

namespace shunt {
namespace {

TEST(HostName, comes_in_lower_case_and_without_the_final_dot) {
  EXPECT_EQ(host_name("WWW.Example."), "www.example");
  EXPECT_EQ(host_name("a-b_c.xn--p1ai"), "a-b_c.xn--p1ai");
  EXPECT_EQ(host_name(std::string(63, 'a') + ".b"), std::string(63, 'a') + ".b");
}

TEST(HostName, is_nothing_else) {
  const std::string longest = std::string(63, 'a') + '.' + std::string(63, 'a') + '.' +
                              std::string(63, 'a') + '.' + std::string(61, 'a');
  EXPECT_TRUE(host_name(longest));
  for (const std::string& text :
       {std::string(), std::string("."), std::string("a..b"), std::string(".a"), std::string("a.."),
        std::string("a b"), std::string("a:1"), std::string("[::1]"), std::string("a\0b", 3),
        std::string(64, 'a'), longest + 'a'}) {
    EXPECT_FALSE(host_name(text)) << text;
  }
}

TEST(IsAddress, knows_both_families_and_zones) {
  for (const char* text : {"192.0.2.1", "2001:db8::1", "fe80::1%lo0"}) {
    EXPECT_TRUE(is_address(text)) << text;
  }
  for (const char* text : {"", "a.example", "192.0.2", "[::1]", "%lo"}) {
    EXPECT_FALSE(is_address(text)) << text;
  }
}

}  // namespace
}  // namespace shunt
