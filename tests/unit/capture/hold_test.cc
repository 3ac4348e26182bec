// SPDX-License-Identifier: GPL-2.0-only
#include "capture/hold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "capture/tproxy.h"
#include "kernel/nft.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Marks kMarks{
    .mask = 0xff000000, .forwarded = 0x01000000, .own = 0x02000000, .egress = 0x03000000};

HoldSpec hold_spec(unsigned queues, bool by_target) {
  return {.marks = kMarks.hold(), .first_queue = 700, .queues = queues, .by_target = by_target};
}

CaptureSpec capture_spec(bool by_target) {
  CaptureSpec spec;
  spec.interfaces = {"lan0"};
  spec.host = true;
  spec.keep_source = true;
  spec.marks = kMarks;
  spec.port = 15001;
  spec.hold = hold_spec(3, by_target);
  return spec;
}

TEST(HoldMarks, of_a_byte_tell_sixteen_workers_apart) {
  const HoldMarks marks = kMarks.hold();
  EXPECT_EQ(marks.mask, 0x0f000000U);
  EXPECT_EQ(marks.held, 0x08000000U);
  EXPECT_EQ(marks.most_workers, 16U);
  EXPECT_EQ(marks.held_for(15), 0xf8000000U);
  for (const std::uint32_t mark :
       {marks.reset, marks.host_unreachable, marks.network_unreachable, marks.missed, marks.held}) {
    for (const std::uint32_t other :
         {kMarks.forwarded, kMarks.own, kMarks.egress, kMarks.kept(), kMarks.reply()}) {
      EXPECT_NE(mark, other);
    }
  }
}

TEST(HoldMarks, of_four_bits_know_one_worker_and_of_two_none) {
  const Marks four{.mask = 0xf0, .forwarded = 0x10, .own = 0x20, .egress = 0x30};
  EXPECT_EQ(four.hold().most_workers, 1U);
  EXPECT_EQ(four.hold().worker_unit, 0U);
  const Marks two{.mask = 0x3, .forwarded = 1, .own = 2, .egress = 3};
  EXPECT_FALSE(two.hold().exist());
}

TEST(HoldChains, of_one_queue_share_nothing_out) {
  const std::string text = hold::chains(hold_spec(1, false));
  EXPECT_THAT(text, HasSubstr("goto hold_0"));
  EXPECT_THAT(text, Not(HasSubstr("vmap")));
  EXPECT_THAT(text, HasSubstr("queue num 700 bypass"));
}

TEST(HoldChains, of_several_queues_have_one_for_each_worker) {
  const std::string text = hold::chains(hold_spec(3, false));
  EXPECT_THAT(text, HasSubstr("tcp sport & 30 vmap { 0 : goto hold_0, 2 : goto hold_1, 4 : goto "
                              "hold_2, 6 : goto hold_0"));
  EXPECT_THAT(text, HasSubstr("queue num 702 bypass"));
}

TEST(HoldChains, by_the_target_are_completed_later) {
  const HoldSpec spec = hold_spec(2, true);
  EXPECT_THAT(hold::chains(spec), Not(HasSubstr("queue num")));
  EXPECT_THAT(hold::described_rules(spec),
              testing::ElementsAre("chain hold_0: queue num 700 bypass",
                                   "chain hold_1: queue num 701 bypass",
                                   "chain requeue: queue num 700 bypass"));
}

TEST(HoldRuleset, loads_and_is_completed_in_an_owned_table) {
  run_in_test_namespace([](Checks& checks) {
    const CaptureSpec spec = capture_spec(true);
    auto table = NftTable::create("held", tproxy::ruleset(spec));
    if (!checks.ok(table, "table")) return;
    checks.ok(hold::append_queue_rules(table->context(), "held", *spec.hold), "queue rules");
    checks.ok(table->replace(tproxy::ruleset(spec)), "replace");
    checks.ok(hold::append_queue_rules(table->context(), "held", *spec.hold), "and once more");
    auto closed =
        NftTable::create("closed", tproxy::closed_ruleset(spec), TableLifetime::persistent);
    checks.ok(closed, "closed table");
  });
}

TEST(HoldRuleset, routes_own_traffic_whatever_worker_its_mark_names) {
  const auto rules = tproxy::rules(capture_spec(false), 100, 7);
  for (const RuleSpec& rule : rules) {
    EXPECT_EQ(rule.mask, rule.mark == kMarks.own ? 0x0f000000U : 0xff000000U);
  }
}

}  // namespace
}  // namespace shunt
