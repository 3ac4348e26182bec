// SPDX-License-Identifier: GPL-2.0-only
#include "cli/rules_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

namespace shunt::cli {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

std::shared_ptr<const Ruleset> rules(const std::vector<std::string>& texts) {
  PolicySource source;
  source.fallback.text = "reject";
  for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
  return Ruleset::compile(std::move(source)).value();
}

RuleHits hits(std::uint64_t total, std::uint64_t kernel, bool in_kernel) {
  return {.total = total,
          .kernel = kernel,
          .in_kernel = in_kernel,
          .since = std::chrono::system_clock::time_point(std::chrono::seconds(86'400))};
}

TEST(RulesReport, has_a_line_for_each_rule_and_the_default_last) {
  ::setenv("TZ", "UTC0", 1);  // NOLINT(concurrency-mt-unsafe)
  ::tzset();
  const auto two = rules({"port 22 -> direct", "path ~\"\\x1b\" -> drop"});
  const auto lines =
      rule_lines(*two, {hits(900, 0, false), hits(12, 7, true), hits(0, 0, false)}, false, 1, 9999);
  EXPECT_THAT(lines,
              ElementsAre("          12            7  1970-01-02 00:00:00  1: port 22 -> direct",
                          "           0            -  1970-01-02 00:00:00  2: path ~\"\\x1b\" -> "
                          "drop",
                          "         900            -  1970-01-02 00:00:00  default: reject"));
}

TEST(RulesReport, is_json_as_well) {
  const auto one = rules({"process \"a b\" -> direct"});
  const auto lines = rule_lines(*one, {hits(1, 0, false), hits(3, 2, true)}, true, 1, 9999);
  EXPECT_THAT(
      lines,
      ElementsAre(R"({"v":1,"rule":1,"text":"process \"a b\" -> direct","action":"direct",)"
                  R"("hits":3,"kernel_hits":2,"in_kernel":true,"since":"1970-01-02T00:00:00Z"})",
                  R"({"v":1,"rule":0,"action":"reject",)"
                  R"("hits":1,"kernel_hits":0,"in_kernel":false,"since":"1970-01-02T00:00:00Z"})"));
}

TEST(RulesReport, comes_in_pages_of_whole_lines) {
  std::vector<std::string> texts;
  for (int port = 1; port <= 100; ++port)
    texts.push_back("port " + std::to_string(port) + " -> drop");
  const auto many = rules(texts);
  const std::vector<RuleHits> all(101, hits(1, 0, false));
  const auto whole = rule_lines(*many, all, false, 1, 1'000'000);
  ASSERT_THAT(whole, SizeIs(101));
  std::vector<std::string> gathered;
  while (gathered.size() < whole.size()) {
    const auto page =
        rule_lines(*many, all, false, static_cast<std::uint32_t>(gathered.size() + 1), 500);
    ASSERT_FALSE(page.empty());
    ASSERT_LT(page.size(), 10U);
    gathered.insert(gathered.end(), page.begin(), page.end());
  }
  EXPECT_EQ(gathered, whole);
  EXPECT_THAT(rule_lines(*many, all, false, 1, 1), SizeIs(1));  // however small the page
}

TEST(RulesReport, says_where_the_next_page_begins) {
  const auto page = page_of(page_text({.state = 4711, .next = 501}));
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->state, 4711U);
  EXPECT_EQ(page->next, 501U);
  for (const char* text : {"", "1", "1 ", " 1", "1 2 3", "a b", "-1 2", "1 99999999999"}) {
    EXPECT_FALSE(page_of(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace shunt::cli
