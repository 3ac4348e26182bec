// SPDX-License-Identifier: GPL-2.0-only
#include "capture/return_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error_numbers.h"
#include "capture/gateway_plan.h"
#include "capture/redirect.h"
#include "capture/tproxy.h"
#include "kernel/nft.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

CaptureSpec keeping_spec() {
  CaptureSpec spec;
  spec.interfaces = {"lan0"};
  spec.host = true;
  spec.keep_source = true;
  spec.marks =
      Marks{.mask = 0xff000000, .forwarded = 0x01000000, .own = 0x02000000, .egress = 0x03000000};
  spec.port = 15001;
  return spec;
}

TEST(ReturnPath, reads_word_for_word) {
  EXPECT_EQ(return_path::chains(keeping_spec()),
            R"(  chain return_path {
    type filter hook prerouting priority mangle - 1; policy accept;
    iifname "lo" return
    ct mark & 0xff000000 == 0x04000000 ct direction reply )"
            R"(meta mark set meta mark & 0x00ffffff | 0x04000000 return
    meta l4proto { tcp, udp, icmp, icmpv6 } socket transparent 1 )"
            R"(socket mark & 0xff000000 == 0x07000000 )"
            R"(meta mark set meta mark & 0x00ffffff | 0x04000000
  }
  chain kept_sources {
    type route hook output priority mangle - 1; policy accept;
    meta mark & 0xff000000 == 0x07000000 ct direction original )"
            R"(ct mark & 0xff000000 == 0x00000000 ct mark set ct mark & 0x00ffffff | 0x04000000
    ct mark & 0xff000000 == 0x04000000 ct direction reply )"
            R"(meta mark set meta mark & 0x00ffffff | 0x05000000
  }
  chain kept_addresses {
    type nat hook postrouting priority srcnat - 1; policy accept;
    ct mark & 0xff000000 == 0x04000000 snat ip to ip saddr
    ct mark & 0xff000000 == 0x04000000 snat ip6 to ip6 saddr
  }
)");
}

TEST(ReturnPath, is_nothing_where_no_way_out_keeps_a_source) {
  CaptureSpec spec = keeping_spec();
  spec.keep_source = false;
  EXPECT_EQ(return_path::chains(spec), "");
  EXPECT_TRUE(return_path::rules(spec, spec.families(), 158, 200).empty());
}

TEST(ReturnPath, chains_are_taken_by_the_kernel_with_each_method) {
  run_in_test_namespace([](Checks& check) {
    for (const bool ipv6 : {true, false}) {
      CaptureSpec spec = keeping_spec();
      spec.ipv6 = ipv6;
      const std::string chains = return_path::chains(spec);
      for (const auto& body : {tproxy::ruleset(spec) + chains, redirect::ruleset(spec) + chains}) {
        check.ok(nft_check(nft_table_text("t", body, TableLifetime::owned)), body);
      }
    }
  });
}

TEST(ReturnPath, rules_send_the_reverse_path_lookup_past_themselves) {
  const CaptureSpec spec = keeping_spec();
  std::vector<std::string> texts;
  for (const RuleSpec& rule : return_path::rules(spec, spec.families(), 158, 200)) {
    texts.push_back(rule.text());
  }
  const std::string mark = "fwmark 0x4000000/0xff000000";
  const std::string own = "fwmark 0x5000000/0xff000000 iif lo lookup 200 protocol 177";
  EXPECT_THAT(texts, ElementsAre("ip rule add pref 158 " + own,
                                 "ip rule add pref 161 " + mark + " nop protocol 177",
                                 "ip rule add pref 159 " + mark + " iif lo goto 161 protocol 177",
                                 "ip rule add pref 160 " + mark + " lookup 200 protocol 177",
                                 "ip -6 rule add pref 158 " + own,
                                 "ip -6 rule add pref 160 " + mark + " lookup 200 protocol 177"));
}

TEST(ReturnPath, rules_are_listed_as_they_were_made) {
  run_in_test_namespace([](Checks& check) {
    const CaptureSpec spec = keeping_spec();
    for (const RuleSpec& rule : return_path::rules(spec, spec.families(), 158, 200)) {
      check.ok(add_rule(rule), rule.text());
      const auto listed = list_rules(rule.family);
      check.that(listed && std::ranges::find(*listed, rule) != listed->end(), rule.text());
    }
    for (const RuleSpec& rule : return_path::rules(spec, spec.families(), 158, 200)) {
      check.ok(delete_rule(rule), rule.text());
    }
    check.that(list_rules(Family::ipv4)->size() == 3, "gone");
  });
}

Features all_available() {
  Features features;
  for (Feature& feature : features.all) {
    feature = {.name = "x", .available = true, .reason = "", .fix = ""};
  }
  return features;
}

TEST(KeepSource, needs_what_brings_the_answers_back) {
  const Marks marks = keeping_spec().marks;
  const LeavingOptions keeping{.keep_source = true};
  EXPECT_TRUE(check_leaving(keeping, CaptureMethod::redirect, all_available(), marks));
  Features features = all_available();
  features.all[static_cast<std::size_t>(FeatureId::tun_device)] = {
      .name = "tun", .available = false, .reason = "because", .fix = "do this"};
  const auto checked = check_leaving(keeping, CaptureMethod::tproxy, features, marks);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().number, error_number::kNoReturnPath);
  EXPECT_THAT(checked.error().message, HasSubstr("tun: because"));
  EXPECT_EQ(checked.error().help, "do this");
  EXPECT_TRUE(check_leaving({}, CaptureMethod::tproxy, features, marks));
}

TEST(KeepSource, needs_three_bits_of_the_mark) {
  const Marks two{
      .mask = 0x03000000, .forwarded = 0x01000000, .own = 0x02000000, .egress = 0x03000000};
  EXPECT_EQ(two.kept(), 0U);
  const auto checked =
      check_leaving({.keep_source = true}, CaptureMethod::tproxy, all_available(), two);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().kind, Kind::conflict);
}

TEST(KeepSource, keeps_the_port_only_with_tproxy) {
  const LeavingOptions keeping{.keep_source = true, .keep_port = true};
  const Marks marks = keeping_spec().marks;
  EXPECT_TRUE(check_leaving(keeping, CaptureMethod::tproxy, all_available(), marks));
  const auto checked = check_leaving(keeping, CaptureMethod::redirect, all_available(), marks);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().number, error_number::kKeptPort);
}

TEST(Leaving, of_two_configurations_is_what_either_needs) {
  const LeavingOptions now{.keep_source = false, .keep_port = false, .tables = {100, 200}};
  const LeavingOptions earlier{.keep_source = true, .keep_port = false, .tables = {200, 300}};
  EXPECT_EQ(now.with(earlier), (LeavingOptions{.keep_source = true, .tables = {100, 200, 300}}));
}

Allotment example_allotment() {
  Allotment allotment;
  allotment.marks = keeping_spec().marks;
  allotment.table_mask = 0x00ff0000;
  allotment.route_table = 200;
  allotment.first_priority = 100;
  allotment.table_name = "shunt-0";
  return allotment;
}

TEST(Plan, of_redirect_with_kept_sources_has_a_device_and_routes) {
  GatewayOptions options;
  options.interfaces = {"lan0"};
  options.leaving.keep_source = true;
  const auto plan =
      plan_gateway(options, CaptureMethod::redirect, example_allotment(), 15001, true);
  EXPECT_EQ(plan.device, "shunt0");
  EXPECT_EQ(plan.routes.size(), 2U);
  EXPECT_EQ(plan.rules.size(), 6U);
  EXPECT_THAT(plan.text(), HasSubstr("chain kept_sources {"));
}

TEST(Plan, of_tables_adds_their_rules_alone) {
  GatewayOptions options;
  options.interfaces = {"lan0"};
  options.leaving.tables = {100};
  TableMarks marks(0x00ff0000);
  ASSERT_TRUE(marks.assign(options.leaving.tables));
  const auto plan =
      plan_gateway(options, CaptureMethod::redirect, example_allotment(), 15001, false, marks);
  EXPECT_TRUE(plan.device.empty());
  EXPECT_THAT(plan.text(),
              HasSubstr("ip rule add pref 162 fwmark 0x10000/0xff0000 lookup 100 protocol 177\n"));
  EXPECT_THAT(plan.text(), Not(HasSubstr("kept_sources")));
}

}  // namespace
}  // namespace shunt
