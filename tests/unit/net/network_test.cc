// SPDX-License-Identifier: GPL-2.0-only
#include "net/network.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

TEST(Network, clears_the_bits_behind_the_prefix) {
  EXPECT_EQ(Network::parse("192.168.77.5/20")->text(), "192.168.64.0/20");
  EXPECT_EQ(Network::parse("2001:db8:ffff::1/33")->text(), "2001:db8:8000::/33");
  EXPECT_EQ(Network::parse("192.0.2.1")->text(), "192.0.2.1");
}

TEST(Network, contains_its_own_family_alone) {
  const Network block = *Network::parse("10.0.0.0/8");
  EXPECT_TRUE(block.contains(*Address::parse("10.255.0.1")));
  EXPECT_TRUE(block.contains(*Address::parse("::ffff:10.1.2.3")));
  EXPECT_FALSE(block.contains(*Address::parse("11.0.0.1")));
  EXPECT_FALSE(Network::parse("0.0.0.0/0")->contains(*Address::parse("2001:db8::1")));
  EXPECT_TRUE(block.contains(*Network::parse("10.1.0.0/16")));
  EXPECT_FALSE(Network::parse("10.1.0.0/16")->contains(block));
}

TEST(Network, refuses_what_is_none) {
  for (const char* text : {"", "/8", "192.0.2.1/33", "192.0.2.1/", "192.0.2.1/-1", "2001:db8::/129",
                           "::ffff:192.0.2.1/95", "a.example"}) {
    EXPECT_FALSE(Network::parse(text)) << text;
  }
}

}  // namespace
}  // namespace shunt
