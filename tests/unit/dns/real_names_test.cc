// SPDX-License-Identifier: GPL-2.0-only
#include "dns/real_names.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

TEST(RealNames, others_take_their_place) {
  RealNames names({"printer.example", "*.lan.example"});
  EXPECT_TRUE(names.match("printer.example"));
  EXPECT_TRUE(names.match("a.lan.example"));
  names.replace({"proxy.example"});
  EXPECT_FALSE(names.match("printer.example"));
  EXPECT_TRUE(names.match("proxy.example"));
}

}  // namespace
}  // namespace shunt
