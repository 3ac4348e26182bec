// SPDX-License-Identifier: GPL-2.0-only
#include "cli/run_method.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/error_numbers.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace shunt::cli {
namespace {

TEST(RunMethod, every_word_stands_for_its_method) {
  for (const RunMethodRow& row : run_methods()) {
    EXPECT_EQ(run_method_of(word_of(row.method)), row.method);
    EXPECT_EQ(row_of(row.method).method, row.method);
    EXPECT_FALSE(row.summary.empty());
  }
  EXPECT_EQ(run_method_of("auto"), RunMethod::automatic);
  EXPECT_EQ(word_of(RunMethod::network_namespace), "namespace");
  EXPECT_EQ(word_of(RunMethod::preload), "preload");
}

TEST(RunMethod, table_has_each_method_once_and_the_namespace_first) {
  std::set<RunMethod> seen;
  for (const RunMethodRow& row : run_methods()) EXPECT_TRUE(seen.insert(row.method).second);
  EXPECT_EQ(seen.size() + 1, std::size(kRunMethodWords));
  EXPECT_FALSE(seen.contains(RunMethod::automatic));
  EXPECT_EQ(run_methods().front().method, RunMethod::network_namespace);
}

TEST(RunMethod, what_can_be_made_can_be_entered_and_probed) {
  for (const RunMethodRow& row : run_methods()) {
    EXPECT_EQ(row.make == nullptr, row.enter == nullptr) << word_of(row.method);
    EXPECT_EQ(row.make == nullptr, row.probe == nullptr) << word_of(row.method);
  }
}

TEST(RunMethod, option_takes_the_words_and_no_other) {
  for (const std::string_view word : kRunMethodWords) {
    const std::array<std::string_view, 3> arguments{"--method", word, "true"};
    const auto options = parse(kRunCommand, arguments);
    ASSERT_TRUE(options) << word;
    EXPECT_EQ(options->value("method"), word);
  }
  const std::array<std::string_view, 3> arguments{"--method", "magic", "true"};
  const auto options = parse(kRunCommand, arguments);
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().number, error_number::kBadValue);
}

}  // namespace
}  // namespace shunt::cli
