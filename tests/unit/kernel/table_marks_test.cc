// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/table_marks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "base/error_numbers.h"
#include "in_namespace.h"

namespace shunt {
namespace {

using testing::ElementsAre;

TEST(TableMask, is_free_and_as_wide_as_may_be) {
  EXPECT_EQ(choose_table_mask(0xff00'0000), 0x00ff'0000U);
  EXPECT_EQ(choose_table_mask(0xff00'0000 | 0x00ff'ff00), 0x0000'00ffU);
  EXPECT_EQ(choose_table_mask(0xffff'ff99), 0x0000'0060U);
  EXPECT_EQ(choose_table_mask(0xffff'fffe), 1U);
  EXPECT_EQ(choose_table_mask(0xffff'ffff), 0U);
}

TEST(TableMarks, differ_and_stay) {
  TableMarks marks(0x00f0'0000);
  const std::vector<std::uint32_t> first{100, 200};
  ASSERT_TRUE(marks.assign(first));
  EXPECT_EQ(marks.of(100), 0x0010'0000U);
  EXPECT_EQ(marks.of(200), 0x0020'0000U);
  EXPECT_EQ(marks.of(300), 0U);
  const std::vector<std::uint32_t> second{200, 300};
  ASSERT_TRUE(marks.assign(second));
  EXPECT_EQ(marks.of(200), 0x0020'0000U);
  EXPECT_EQ(marks.of(300), 0x0030'0000U);
  marks.keep_only(second);
  EXPECT_EQ(marks.of(100), 0U);
  const std::vector<std::uint32_t> third{400};
  ASSERT_TRUE(marks.assign(third));
  EXPECT_EQ(marks.of(400), 0x0010'0000U) << "a mark that was given back";
}

TEST(TableMarks, of_one_bit_are_one_and_a_second_is_a_conflict) {
  TableMarks marks(0x8000'0000);
  EXPECT_EQ(marks.bits_in_use(), 0U);
  const std::vector<std::uint32_t> two{100, 200};
  const auto assigned = marks.assign(two);
  ASSERT_FALSE(assigned);
  EXPECT_EQ(assigned.error().number, error_number::kNoTableMark);
  EXPECT_EQ(assigned.error().kind, Kind::conflict);
  EXPECT_EQ(marks.bits_in_use(), 0U) << "all or nothing";
  const std::vector<std::uint32_t> one{100};
  EXPECT_TRUE(marks.assign(one));
  EXPECT_EQ(marks.of(100), 0x8000'0000U);
  EXPECT_FALSE(TableMarks(0).assign(one));
}

TEST(TableMarks, of_eight_bits_at_the_top_are_255) {
  TableMarks marks(0xff00'0000);
  std::vector<std::uint32_t> tables;
  for (std::uint32_t table = 1000; table < 1255; ++table) tables.push_back(table);
  ASSERT_TRUE(marks.assign(tables));
  std::set<std::uint32_t> values;
  for (const std::uint32_t table : tables) values.insert(marks.of(table));
  EXPECT_EQ(values.size(), 255U);
  EXPECT_FALSE(values.contains(0));
  tables.push_back(2000);
  EXPECT_FALSE(marks.assign(tables));
}

TEST(TableMarks, rules_lead_to_the_table_and_to_no_other) {
  TableMarks marks(0x00ff'0000);
  const std::vector<std::uint32_t> tables{100};
  ASSERT_TRUE(marks.assign(tables));
  const std::array families{Family::ipv4};
  std::vector<std::string> texts;
  for (const RuleSpec& rule : marks.rules(tables, families, 162)) texts.push_back(rule.text());
  EXPECT_THAT(texts,
              ElementsAre("ip rule add pref 163 fwmark 0x10000/0xff0000 unreachable protocol 177",
                          "ip rule add pref 162 fwmark 0x10000/0xff0000 lookup 100 protocol 177"));
}

TEST(TableMarks, rules_of_many_tables_share_their_priorities) {
  run_in_test_namespace([](Checks& check) {
    TableMarks marks(0x00ff'0000);
    const std::vector<std::uint32_t> tables{100, 200, 254};
    check.ok(marks.assign(tables), "assign");
    const std::array families{Family::ipv4, Family::ipv6};
    std::vector<PolicyRule> owned;
    for (const RuleSpec& rule : marks.rules(tables, families, 162)) {
      auto made = PolicyRule::create(rule);
      if (!check.ok(made, rule.text())) return;
      owned.push_back(std::move(*made));
    }
    for (const Family family : families) {
      const auto listed = list_rules(family);
      check.that(listed && std::ranges::count(*listed, kRouteProtocol, &RuleSpec::protocol) == 6,
                 "all are there");
      for (const PolicyRule& rule : owned) {
        if (rule.spec().family != family) continue;
        check.that(listed && std::ranges::find(*listed, rule.spec()) != listed->end(),
                   "listed as it was made: " + rule.spec().text());
      }
    }
  });
}

}  // namespace
}  // namespace shunt
