// SPDX-License-Identifier: GPL-2.0-only
// What the tests of the configuration file have in common.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "config/config.h"

namespace shunt::test {

inline Config parsed(const std::string& text) {
  auto config = parse_config("/etc/shunt/shunt.toml", text);
  EXPECT_TRUE(config) << text << (config ? "" : config.error().front().message);
  return config ? *std::move(config) : Config{};
}

inline Mistakes mistakes(const std::string& text) {
  auto config = parse_config("shunt.toml", text);
  EXPECT_FALSE(config) << text;
  return config ? Mistakes{} : std::move(config).error();
}

}  // namespace shunt::test
