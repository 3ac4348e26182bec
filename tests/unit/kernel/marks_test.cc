// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/marks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "in_namespace.h"
#include "kernel/nft.h"

namespace shunt {
namespace {

TEST(Marks, take_the_highest_free_byte) {
  EXPECT_EQ(choose_marks(0)->mask, 0xff00'0000U);
  EXPECT_EQ(choose_marks(0xffff'0000)->mask, 0x0000'ff00U);  // Calico's default
  const auto marks = choose_marks(0x8000'0000);
  ASSERT_TRUE(marks.has_value());
  EXPECT_EQ(marks->mask, 0x7f80'0000U);
}

TEST(Marks, are_three_values_within_the_mask) {
  for (const std::uint32_t used : {0U, 0xffff'ff00U, 0xffff'fff0U, 0xffff'fffcU, 0x1111'1111U}) {
    const auto marks = choose_marks(used);
    ASSERT_TRUE(marks.has_value()) << used;
    EXPECT_EQ(marks->mask & used, 0U);
    for (const std::uint32_t value : {marks->forwarded, marks->own, marks->egress}) {
      EXPECT_NE(value, 0U);
      EXPECT_EQ(value & ~marks->mask, 0U);
    }
    EXPECT_NE(marks->forwarded, marks->own);
    EXPECT_NE(marks->own, marks->egress);
    EXPECT_NE(marks->forwarded, marks->egress);
  }
}

TEST(Marks, are_a_conflict_when_no_two_bits_are_free) {
  const auto marks = choose_marks(0x5555'5555);
  ASSERT_FALSE(marks.has_value());
  EXPECT_EQ(marks.error().kind, Kind::conflict);
}

TEST(Marks, follow_from_a_mask_that_was_chosen) {
  for (const std::uint32_t used : {0U, 0x8000'0000U, 0xffff'fff0U, 0xffff'fffcU}) {
    const Marks chosen = *choose_marks(used);
    EXPECT_EQ(marks_within(chosen.mask), chosen) << chosen.mask;
  }
  for (const std::uint32_t mask : {0U, 0x1U, 0x7U, 0xff01U, 0x1ff00U}) {
    EXPECT_EQ(marks_within(mask), std::nullopt) << mask;
  }
}

TEST(Marks, of_a_full_mask_take_only_the_value_s_bits) {
  EXPECT_EQ(bits_taken(0xca6c, 0xffff'ffff), 0xca6cU);
  EXPECT_EQ(bits_taken(0x4000, 0x4000), 0x4000U);
  EXPECT_EQ(bits_taken(0, 0xff), 0xffU);
}

TEST(Marks, leave_the_bits_of_others_alone_in_nft_text) {
  const auto marks = *choose_marks(0);
  EXPECT_EQ(marks.match(marks.own), "meta mark & 0xff000000 == 0x02000000");
  // A socket with a client's address bears a value of its own, and is never captured either.
  EXPECT_EQ(marks.match(marks.egress), "meta mark & 0xfb000000 == 0x03000000");
  EXPECT_EQ(marks.kept(), 0x0700'0000U);
  EXPECT_EQ(marks.match(marks.kept()), "meta mark & 0xff000000 == 0x07000000");
  EXPECT_EQ(marks.reply(), 0x0400'0000U);
  EXPECT_EQ(marks.own_reply(), 0x0500'0000U);
  EXPECT_EQ(marks.set(marks.own, "ct"), "ct mark set ct mark & 0x00ffffff | 0x02000000");
  run_in_test_namespace([&](Checks& check) {
    const auto rules = marks.match(marks.own) + "\n" + marks.match(marks.own, "ct") + "\n" +
                       marks.set(marks.own) + "\n" + marks.set(marks.own, "ct");
    check.ok(nft_run(nft_table_text(
                 "x", "chain a {\ntype filter hook output priority 0\n" + rules + "\n}",
                 TableLifetime::persistent)),
             "nft takes it");
    check.that(nft_mark_bits() == marks.mask, "its own bits are read back");
    check.ok(nft_run("table ip x {\n chain a {\n  meta mark & 0x10 == 0x10 drop\n }\n}\n"),
             "another of the name");
    check.that(nft_mark_bits_of("x") == marks.mask, "of it alone");
    const std::vector<std::string> but_for{"x"};
    check.that(nft_mark_bits(but_for) == 0x10, "of all but it");
  });
}

struct NftCase {
  std::string_view rule;
  std::uint32_t bits;
};

void PrintTo(const NftCase& test_case, std::ostream* out) { *out << test_case.rule; }

class NftMarkBits : public testing::TestWithParam<NftCase> {};

TEST_P(NftMarkBits, are_read_from_the_rule) {
  run_in_test_namespace([&](Checks& check) {
    const auto body = "chain a {\ntype filter hook prerouting priority 0\n" +
                      std::string(GetParam().rule) + "\n}";
    if (!check.ok(nft_run(nft_table_text("x", body, TableLifetime::persistent)), "load")) return;
    const auto bits = nft_mark_bits();
    check.that(bits == GetParam().bits, fmt::format("{}: {:#x}", GetParam().rule, bits));
  });
}

INSTANTIATE_TEST_SUITE_P(rules, NftMarkBits,
                         testing::Values(NftCase{"meta mark 0x10 drop", 0x10},
                                         NftCase{"meta mark & 0xff00 == 0x200 drop", 0xff00},
                                         NftCase{"ct mark & 0x30 == 0x10 accept", 0x30},
                                         NftCase{"meta mark set 0x42", 0x42},
                                         NftCase{"ct mark set 0x80", 0x80},
                                         NftCase{"meta mark set meta mark | 0x4000", 0x4000},
                                         NftCase{"meta mark set meta mark & 0xffff00ff", 0xff00},
                                         NftCase{"meta mark set ct mark", 0},
                                         NftCase{"meta mark 0x10-0x1f accept", 0x1f},
                                         NftCase{"tcp dport 80 accept", 0},
                                         NftCase{"meta mark & 0xf0 { 0x10, 0x20 } accept", 0xf0}));

TEST(XtablesMarkBits, ignore_what_is_too_short_or_unknown) {
  EXPECT_EQ(xtables_mark_bits("mark", "abc"), 0U);
  EXPECT_EQ(xtables_mark_bits("tcp", std::string(64, '\xff')), 0U);
  const std::string info("\x00\x40\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00", 12);
  EXPECT_EQ(xtables_mark_bits("MARK", info), 0x4000U);
}

/// iptables as the administrator runs it, where it is installed; "" if it worked.
std::string run_iptables(const std::string& command) {
  return std::system(("{ " + command + "; } >/dev/null 2>&1").c_str()) == 0 ? ""
                                                                            : command + " failed";
}

TEST(XtablesMarkBits, are_read_from_both_kinds_of_iptables) {
  if (!run_iptables("command -v iptables-legacy && command -v iptables-nft").empty()) {
    GTEST_SKIP() << "needs iptables";
  }
  for (const std::string tool : {"iptables-nft", "iptables-legacy", "ip6tables-legacy"}) {
    run_in_test_namespace([&](Checks& check) {
      auto failed = run_iptables(tool +
                                 " -t mangle -A PREROUTING -p tcp -m mark --mark 0x100/0x300"
                                 " -m connmark --mark 0x1000/0x1000 -j MARK --or-mark 0x8");
      if (!failed.empty()) return;  // a kernel without legacy iptables
      const auto bits = mark_bits_in_use({});
      check.that(bits == 0x1308, fmt::format("{}: {:#x}", tool, bits));
    });
  }
}

TEST(MarkBits, are_read_from_ip_rules) {
  EXPECT_EQ(
      mark_bits_in_use({{.mark = 0xca6c, .mask = 0xffff'ffff}, {.mark = 0, .mask = 0x30000}}) &
          0x3ca6c,
      0x3ca6cU);
}

}  // namespace
}  // namespace shunt
