// SPDX-License-Identifier: GPL-2.0-only
// What examples/ shows works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "config/config.h"

namespace shunt {
namespace {

TEST(Examples, are_without_mistakes_and_warnings) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SHUNT_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".toml") continue;
    ++files;
    auto config = read_config(entry.path().string());
    ASSERT_TRUE(config) << config.error().front().message << config.error().front().place;
    const auto checked = check_config(*std::move(config));
    ASSERT_TRUE(checked) << checked.error().front().message << checked.error().front().place;
    for (const Error& warning : config_warnings(*checked)) {
      ADD_FAILURE() << warning.message << "\n" << warning.place;
    }
  }
  EXPECT_GE(files, 3U);
}

}  // namespace
}  // namespace shunt
