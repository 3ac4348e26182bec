// SPDX-License-Identifier: GPL-2.0-only
// The nftables texts, word for word (golden/*.txt): a change in what is installed shows there as a
// difference to be read. What the kernel makes of them is for tests/system/test_gateway_rules.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "capture/redirect.h"
#include "capture/ruleset_text.h"
#include "capture/tproxy.h"
#include "kernel/nft.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string golden(const std::string& name) {
  std::ifstream file(SHUNT_SOURCE_DIR "/tests/unit/capture/golden/" + name + ".txt");
  return {std::istreambuf_iterator<char>(file), {}};
}

CaptureSpec full_spec() {
  return CaptureSpec{
      .interfaces = {"lan0"},
      .host = true,
      .loopback = false,
      .masquerade = true,
      .exclusions = {*parse_exclusion("to 192.0.2.0/24,2001:db8:1::/48 port 80"),
                     *parse_exclusion("uid 0")},
      .kernel_rules = {},
      .marks =
          Marks{
              .mask = 0x03000000, .forwarded = 0x01000000, .own = 0x02000000, .egress = 0x03000000},
      .port = 15001,
      .ipv6 = true};
}

TEST(TproxyRuleset, reads_word_for_word) {
  EXPECT_EQ(tproxy::ruleset(full_spec()), golden("tproxy"));
}

TEST(RedirectRuleset, reads_word_for_word) {
  EXPECT_EQ(redirect::ruleset(full_spec()), golden("redirect"));
}

TEST(TproxyClosedRuleset, reads_word_for_word) {
  EXPECT_EQ(tproxy::closed_ruleset(full_spec()), golden("tproxy_closed"));
}

TEST(RedirectClosedRuleset, reads_word_for_word) {
  EXPECT_EQ(redirect::closed_ruleset(full_spec()), golden("redirect_closed"));
}

TEST(TproxyRuleset, without_tracking_reads_word_for_word) {
  CaptureSpec spec = full_spec();
  spec.host = false;
  spec.masquerade = false;
  spec.notrack = true;
  EXPECT_EQ(tproxy::ruleset(spec), golden("tproxy_notrack"));
}

TEST(Rulesets, of_own_traffic_alone_have_nothing_for_a_lan) {
  CaptureSpec spec = full_spec();
  spec.interfaces.clear();
  for (const auto& text : {tproxy::ruleset(spec), redirect::ruleset(spec),
                           tproxy::closed_ruleset(spec), redirect::closed_ruleset(spec)}) {
    EXPECT_THAT(text, Not(HasSubstr("forwarded")));
    EXPECT_THAT(text, HasSubstr("chain new_own {"));
  }
}

TEST(Rulesets, of_a_lan_alone_leave_own_traffic_alone) {
  CaptureSpec spec = full_spec();
  spec.host = false;
  for (const auto& text : {tproxy::ruleset(spec), redirect::ruleset(spec),
                           tproxy::closed_ruleset(spec), redirect::closed_ruleset(spec)}) {
    EXPECT_THAT(text, Not(HasSubstr("chain output")));
    EXPECT_THAT(text, Not(HasSubstr("new_own")));
    EXPECT_THAT(text, HasSubstr("chain new_forwarded {"));
  }
}

TEST(Rulesets, of_own_dns_take_port_53_of_loopback_alone) {
  CaptureSpec spec = full_spec();
  spec.own_dns = true;
  for (const auto& text : {tproxy::ruleset(spec), tproxy::closed_ruleset(spec)}) {
    const std::string own = text.substr(text.find("chain new_own {"));
    EXPECT_THAT(own, HasSubstr("fib daddr type { broadcast, multicast, anycast } return\n"));
    EXPECT_THAT(own, HasSubstr("fib daddr type local th dport != 53 return\n"));
    EXPECT_THAT(own, HasSubstr("fib daddr type local ip daddr != 127.0.0.0/8 return\n"));
    EXPECT_THAT(own, HasSubstr("fib daddr type local ip6 daddr != ::1 return\n"));
  }
  spec.loopback = true;  // which takes all of it
  EXPECT_THAT(tproxy::ruleset(spec), Not(HasSubstr("dport != 53")));
}

TEST(Rulesets, of_loopback_take_connections_to_own_addresses) {
  CaptureSpec spec = full_spec();
  spec.interfaces.clear();
  spec.loopback = true;
  for (const auto& text : {tproxy::ruleset(spec), redirect::ruleset(spec),
                           tproxy::closed_ruleset(spec), redirect::closed_ruleset(spec)}) {
    EXPECT_THAT(text, HasSubstr("fib daddr type { broadcast, multicast, anycast } return"));
    EXPECT_THAT(text, Not(HasSubstr("{ local,")));
  }
}

TEST(Rulesets, without_ipv6_hand_nothing_to_an_ipv6_listener) {
  CaptureSpec spec = full_spec();
  spec.ipv6 = false;
  EXPECT_THAT(tproxy::ruleset(spec), Not(HasSubstr("[::1]")));
  for (const RuleSpec& rule : tproxy::rules(spec, 100, 200)) {
    EXPECT_EQ(rule.family, Family::ipv4);
  }
}

/// "client 192.0.2.10 -> wan2" in front of "port 80 -> direct" and "uid 0 -> direct".
std::vector<KernelDecision> some_kernel_rules() {
  return {{.match = *parse_exclusion("client 192.0.2.10"), .leave = false, .rule = 1},
          {.match = *parse_exclusion("port 80"), .leave = true, .rule = 2},
          {.match = *parse_exclusion("uid 0"), .leave = true, .rule = 3}};
}

TEST(Rulesets, let_go_what_a_rule_sends_direct_and_count_it) {
  CaptureSpec spec = full_spec();
  spec.kernel_rules = some_kernel_rules();
  const std::string http = "meta l4proto { tcp, udp } th dport 80 goto leave_by_rule_2\n";
  for (const auto& text : {tproxy::ruleset(spec), redirect::ruleset(spec),
                           tproxy::closed_ruleset(spec), redirect::closed_ruleset(spec)}) {
    EXPECT_THAT(text, HasSubstr("counter rule_2 {"));
    EXPECT_THAT(text, HasSubstr("chain leave_by_rule_2 {\n    ct status & confirmed == 0 counter "
                                "name \"rule_2\"\n    accept\n  }"));
    EXPECT_THAT(text, Not(HasSubstr("counter rule_1")));
    EXPECT_THAT(text, HasSubstr("chain rules_forwarded {\n    ip saddr 192.0.2.10 return\n    " +
                                http + "  }"));
    EXPECT_THAT(text, HasSubstr("chain rules_own {\n    ip saddr 192.0.2.10 return\n    " + http +
                                "    meta skuid 0 goto leave_by_rule_3\n  }"));
    EXPECT_THAT(text, HasSubstr("    jump rules_own\n"));
    EXPECT_THAT(text, HasSubstr("    jump rules_forwarded\n"));
  }
}

TEST(Rulesets, have_no_chain_where_no_rule_lets_anything_go) {
  CaptureSpec spec = full_spec();
  spec.kernel_rules = some_kernel_rules();
  spec.kernel_rules.erase(spec.kernel_rules.begin() + 1);
  EXPECT_THAT(tproxy::ruleset(spec), Not(HasSubstr("rules_forwarded")));
  EXPECT_THAT(tproxy::ruleset(spec), HasSubstr("rules_own"));
}

TEST(Rulesets, of_every_kind_are_taken_by_the_kernel) {
  run_in_test_namespace([](Checks& check) {
    for (const unsigned bits : {1U, 2U, 3U, 6U, 7U, 15U, 11U, 19U}) {
      CaptureSpec spec = full_spec();
      if ((bits & 1U) == 0) spec.interfaces.clear();
      spec.host = (bits & 2U) != 0;
      spec.loopback = (bits & 4U) != 0;
      spec.masquerade = (bits & 8U) != 0;
      if ((bits & 16U) != 0) spec.kernel_rules = some_kernel_rules();
      spec.notrack = !spec.interfaces.empty() && (bits & 8U) != 0;
      for (const auto& body : {tproxy::ruleset(spec), redirect::ruleset(spec),
                               tproxy::closed_ruleset(spec), redirect::closed_ruleset(spec)}) {
        check.ok(nft_check(nft_table_text("t", body, TableLifetime::persistent)), body);
      }
    }
  });
}

TEST(TproxyRules, bind_the_mark_of_forwarded_traffic_to_its_interface) {
  CaptureSpec spec = full_spec();
  spec.interfaces = {"lan0", "lan1"};
  std::vector<std::string> texts;
  for (const RuleSpec& rule : tproxy::rules(spec, 100, 200)) {
    if (rule.family == Family::ipv4) texts.push_back(rule.text());
  }
  EXPECT_THAT(
      texts, testing::ElementsAre(
                 "ip rule add pref 100 fwmark 0x1000000/0x3000000 iif lan0 lookup 200 protocol 177",
                 "ip rule add pref 101 fwmark 0x1000000/0x3000000 iif lan1 lookup 200 protocol 177",
                 "ip rule add pref 102 fwmark 0x2000000/0x3000000 iif lo lookup 200 protocol 177"));
}

TEST(TproxyRoutes, make_every_address_local_in_their_table) {
  std::vector<std::string> texts;
  for (const RouteSpec& route : tproxy::routes(full_spec(), "shunt0", 200)) {
    texts.push_back(route.text());
  }
  EXPECT_THAT(texts,
              testing::ElementsAre("ip route add local default dev shunt0 table 200 proto 177",
                                   "ip -6 route add local default dev shunt0 table 200 proto 177"));
}

}  // namespace
}  // namespace shunt
