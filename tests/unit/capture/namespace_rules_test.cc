// SPDX-License-Identifier: GPL-2.0-only
#include "capture/namespace_rules.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

NamespaceRules usual() {
  return {.mark = 0x77,
          .listen_port = 1,
          .udp_listeners = 2,
          .ipv6 = true,
          .own_addresses = {*Address::parse("192.0.2.2"), *Address::parse("2001:db8::2")},
          .name_servers = {},
          .localhost_is_host = false};
}

bool holds(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// The lines of one chain.
std::string chain(const std::string& text, std::string_view name) {
  const auto start = text.find("  chain " + std::string(name) + " {");
  return start == std::string::npos ? "" : text.substr(start, text.find("\n  }", start) - start);
}

TEST(NamespaceRules, let_what_shunt_sends_pass_before_anything_else) {
  const auto capture = chain(namespace_rules_text(usual()), "capture");
  EXPECT_LT(capture.find("meta mark 0x77 accept"), capture.find("goto"));
}

TEST(NamespaceRules, hand_all_datagrams_of_a_socket_to_one_listener) {
  const auto to_shunt = chain(namespace_rules_text(usual()), "to_shunt");
  for (const std::string_view share :
       {"jhash ip saddr . udp sport mod 2 seed 0x5348 0 tproxy ip to 127.0.0.1:1 accept",
        "jhash ip saddr . udp sport mod 2 seed 0x5348 1 tproxy ip to 127.0.0.1:2 accept",
        "jhash ip6 saddr . udp sport mod 2 seed 0x5348 1 tproxy ip6 to [::1]:2 accept"}) {
    EXPECT_TRUE(holds(to_shunt, share)) << share;
  }
  auto rules = usual();
  rules.udp_listeners = 1;
  EXPECT_FALSE(holds(namespace_rules_text(rules), "jhash"));
}

TEST(NamespaceRules, leave_loopback_inside) {
  const auto loopback = chain(namespace_rules_text(usual()), "loopback");
  EXPECT_TRUE(holds(loopback, "accept"));
  EXPECT_FALSE(holds(loopback, "goto"));
}

TEST(NamespaceRules, send_only_port_53_of_a_loopback_name_server_to_the_host) {
  auto rules = usual();
  rules.name_servers = {*Address::parse("127.0.0.53"), *Address::parse("::1")};
  const auto loopback = chain(namespace_rules_text(rules), "loopback");
  EXPECT_TRUE(holds(loopback, "ip daddr 127.0.0.53 th dport 53 goto inside_first"));
  EXPECT_TRUE(holds(loopback, "ip6 daddr ::1 th dport 53 goto inside_first"));
  EXPECT_LT(loopback.rfind("goto"), loopback.find("accept"));
}

TEST(NamespaceRules, send_all_of_loopback_to_the_host_when_asked_but_inside_first) {
  auto rules = usual();
  rules.localhost_is_host = true;
  const auto text = namespace_rules_text(rules);
  EXPECT_TRUE(holds(chain(text, "loopback"), "goto inside_first"));
  EXPECT_FALSE(holds(chain(text, "loopback"), "accept"));
  const auto inside = chain(text, "inside_first");
  EXPECT_LT(inside.find("socket wildcard { 0, 1 } accept"), inside.rfind("goto to_shunt"));
}

TEST(NamespaceRules, look_inside_first_for_the_hosts_own_addresses) {
  const auto capture = chain(namespace_rules_text(usual()), "capture");
  EXPECT_TRUE(holds(capture, "ip daddr 192.0.2.2 goto inside_first"));
  EXPECT_TRUE(holds(capture, "ip6 daddr 2001:db8::2 goto inside_first"));
}

TEST(NamespaceRules, reject_at_the_end_what_cannot_be_carried) {
  const auto refuse = chain(namespace_rules_text(usual()), "refuse");
  EXPECT_LT(refuse.rfind("accept"), refuse.find("reject with icmpx admin-prohibited"));
  EXPECT_FALSE(holds(refuse, "echo"));
}

TEST(NamespaceRules, name_no_ipv6_listener_where_the_kernel_has_no_ipv6) {
  auto rules = usual();
  rules.ipv6 = false;
  EXPECT_FALSE(holds(namespace_rules_text(rules), "tproxy ip6"));
}

}  // namespace
}  // namespace shunt
