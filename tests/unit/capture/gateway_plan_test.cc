// SPDX-License-Identifier: GPL-2.0-only
#include "capture/gateway_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "capture/masquerade.h"

namespace shunt {
namespace {

using testing::HasSubstr;

Features all_available() {
  Features features;
  for (Feature& feature : features.all)
    feature = {.name = "x", .available = true, .reason = "", .fix = ""};
  return features;
}

Features without(FeatureId id) {
  Features features = all_available();
  features.all[static_cast<std::size_t>(id)] = {
      .name = "it", .available = false, .reason = "because", .fix = "do this"};
  return features;
}

TEST(Method, is_tproxy_where_that_works) {
  const auto decision = decide_method(MethodChoice::automatic, all_available(), true, {});
  ASSERT_TRUE(decision);
  EXPECT_EQ(decision->method, CaptureMethod::tproxy);
}

TEST(Method, falls_back_to_redirect_and_says_why) {
  for (const FeatureId id : {FeatureId::tproxy_ipv4, FeatureId::tun_device,
                             FeatureId::policy_routing, FeatureId::socket_expression}) {
    const auto decision = decide_method(MethodChoice::automatic, without(id), true, {});
    ASSERT_TRUE(decision);
    EXPECT_EQ(decision->method, CaptureMethod::redirect);
    EXPECT_EQ(decision->why_not_tproxy, "it: because");
  }
}

TEST(Method, is_redirect_where_packets_are_still_bridged) {
  const Feature bridged{.name = "it", .available = false, .reason = "because", .fix = "do this"};
  const auto decision = decide_method(MethodChoice::automatic, all_available(), true, bridged);
  ASSERT_TRUE(decision);
  EXPECT_EQ(decision->method, CaptureMethod::redirect);
  EXPECT_EQ(decision->why_not_tproxy, "it: because");
  EXPECT_FALSE(decide_method(MethodChoice::tproxy, all_available(), true, bridged));
}

TEST(Method, is_not_changed_behind_the_back_of_who_asked_for_it) {
  const auto decision =
      decide_method(MethodChoice::tproxy, without(FeatureId::tproxy_ipv4), true, {});
  ASSERT_FALSE(decision);
  EXPECT_EQ(decision.error().kind, Kind::unsupported);
  EXPECT_EQ(decision.error().help, "do this");
  const auto chosen = decide_method(MethodChoice::redirect, all_available(), true, {});
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->method, CaptureMethod::redirect);
  EXPECT_EQ(chosen->why_not_tproxy, "");
}

TEST(Method, needs_ipv6_only_where_there_is_ipv6) {
  const auto features = without(FeatureId::tproxy_ipv6);
  EXPECT_EQ(decide_method(MethodChoice::automatic, features, true, {})->method,
            CaptureMethod::redirect);
  EXPECT_EQ(decide_method(MethodChoice::automatic, features, false, {})->method,
            CaptureMethod::tproxy);
}

TEST(Method, may_be_none_at_all) {
  const auto decision =
      decide_method(MethodChoice::automatic, without(FeatureId::nft_owner_table), true, {});
  ASSERT_FALSE(decision);
  EXPECT_EQ(decision.error().kind, Kind::unsupported);
}

Allotment example_allotment() {
  return Allotment{
      .number = 3,
      .marks =
          Marks{
              .mask = 0x03000000, .forwarded = 0x01000000, .own = 0x02000000, .egress = 0x03000000},
      .route_table = 200,
      .first_priority = 100,
      .table_name = "shunt-3",
      .closed_table_name = "shunt-3-closed"};
}

TEST(Plan, prints_what_it_holds_in_the_order_of_its_installation) {
  const GatewayOptions options{
      .interfaces = {"lan0"}, .host = true, .closed = true, .exclusions = {}};
  const auto plan = plan_gateway(options, CaptureMethod::tproxy, example_allotment(), 15001, true);
  const std::string text = plan.text();
  std::size_t at = 0;
  for (const char* part :
       {"ip link set shunt3 up", "ip route add local default dev shunt3", "ip rule add pref 100 ",
        "table inet shunt-3-closed {", "table inet shunt-3 {", "flags owner"}) {
    const auto found = text.find(part, at);
    ASSERT_NE(found, std::string::npos) << part << "\n" << text;
    at = found;
  }
  EXPECT_THAT(text, HasSubstr(plan.table_body));
}

TEST(Plan, has_one_listener_for_datagrams_where_the_kernel_cannot_share_them_out) {
  GatewayOptions options{.interfaces = {"lan0"}, .exclusions = {}, .workers = 3};
  const auto shared =
      plan_gateway(options, CaptureMethod::tproxy, example_allotment(), 15001, true);
  EXPECT_EQ(shared.spec.udp_listeners, 3U);
  EXPECT_THAT(shared.table_body, HasSubstr("jhash ip saddr . udp sport mod 3 "));
  EXPECT_THAT(shared.table_body, HasSubstr("tproxy ip to 127.0.0.1:15003"));
  options.shares_udp = false;
  const auto alone = plan_gateway(options, CaptureMethod::tproxy, example_allotment(), 15001, true);
  EXPECT_EQ(alone.spec.udp_listeners, 1U);
  EXPECT_THAT(alone.table_body, testing::Not(HasSubstr("jhash")));
  EXPECT_THAT(alone.table_body,
              HasSubstr("meta l4proto { tcp, udp } tproxy ip to 127.0.0.1:15001"));
}

TEST(Plan, of_redirect_needs_no_routing) {
  const GatewayOptions options{.interfaces = {"lan0"}, .exclusions = {}};
  const auto plan =
      plan_gateway(options, CaptureMethod::redirect, example_allotment(), 15001, true);
  EXPECT_TRUE(plan.device.empty());
  EXPECT_TRUE(plan.rules.empty());
  EXPECT_TRUE(plan.closed_table_body.empty());
  EXPECT_THAT(plan.text(), testing::Not(HasSubstr("ip rule")));
  EXPECT_THAT(plan.text(), testing::Not(HasSubstr("ip route")));
}

LiveInstance running(std::string command) {
  return {.pid = 4711, .command = std::move(command), .allotment = example_allotment()};
}

TEST(Others, that_capture_the_same_are_a_conflict) {
  const GatewayOptions options{.interfaces = {"lan0", "lan1"}, .host = true, .exclusions = {}};
  EXPECT_EQ(record_of(options), "gateway -i lan0 -i lan1 --host");
  for (const char* command : {"gateway -i lan0", "gateway -i dmz0 -i lan1", "gateway --host"}) {
    const auto checked = check_others(options, {running(command)});
    ASSERT_FALSE(checked) << command;
    EXPECT_EQ(checked.error().kind, Kind::conflict);
    EXPECT_THAT(checked.error().message, HasSubstr("4711"));
  }
}

TEST(Others, that_capture_something_else_are_none) {
  const GatewayOptions options{.interfaces = {"lan0"}, .exclusions = {}};
  for (const char* command :
       {"gateway -i lan", "gateway -i lan01", "gateway --host", "run curl", "gateway"}) {
    EXPECT_TRUE(check_others(options, {running(command)})) << command;
  }
}

TEST(Masquerade, is_seen_in_a_foreign_ruleset) {
  EXPECT_TRUE(translates_sources("oifname \"ppp0\" masquerade"));
  EXPECT_TRUE(translates_sources("ip saddr 10.0.0.0/8 snat to 203.0.113.1"));
  EXPECT_TRUE(translates_sources("counter packets 0 bytes 0 xt target \"MASQUERADE\""));
  EXPECT_FALSE(translates_sources("type nat hook postrouting priority srcnat; policy accept;"));
  EXPECT_FALSE(translates_sources(""));
}

}  // namespace
}  // namespace shunt
