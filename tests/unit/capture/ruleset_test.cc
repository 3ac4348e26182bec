// SPDX-License-Identifier: GPL-2.0-only
// The nftables texts, word for word: a change in what is installed shows here as a difference to be
// read. What the kernel makes of them is for tests/system/test_gateway_rules.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "capture/redirect.h"
#include "capture/ruleset_text.h"
#include "capture/tproxy.h"

namespace shunt {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

CaptureSpec full_spec() {
  return CaptureSpec{
      .interfaces = {"lan0"},
      .host = true,
      .loopback = false,
      .masquerade = true,
      .exclusions = {*parse_exclusion("to 192.0.2.0/24,2001:db8:1::/48 port 80"),
                     *parse_exclusion("uid 0")},
      .marks =
          Marks{
              .mask = 0x03000000, .forwarded = 0x01000000, .own = 0x02000000, .egress = 0x03000000},
      .port = 15001,
      .ipv6 = true};
}

constexpr std::string_view kTproxy = R"(  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    iifname "lo" meta mark & 0x03000000 == 0x02000000 goto own_arrives
    iifname { "lan0" } goto forwarded
  }
  chain forwarded {
    tcp flags & (fin | syn | rst | ack) == syn goto new_forwarded
    meta l4proto { tcp, udp, icmp, icmpv6 } ct mark & 0x03000000 == 0x01000000 ct direction original goto take_forwarded
    meta l4proto tcp socket transparent 1 ct mark set ct mark & 0xfcffffff | 0x01000000 goto take_forwarded
    meta l4proto udp ct state { new, untracked } goto new_forwarded
  }
  chain new_forwarded {
    fib daddr type { local, broadcast, multicast, anycast } return
    ip daddr 169.254.0.0/16 return
    ip6 daddr fe80::/10 return
    udp dport { 67, 68, 546, 547 } return
    fib daddr oifname { "lan0" } return
    ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 80 return
    ip6 daddr 2001:db8:1::/48 meta l4proto { tcp, udp } th dport 80 return
    ct mark set ct mark & 0xfcffffff | 0x01000000
    goto take_forwarded
  }
  chain take_forwarded {
    meta l4proto { tcp, udp } tproxy ip to 127.0.0.1:15001 meta mark set meta mark & 0xfcffffff | 0x01000000 accept
    meta l4proto { tcp, udp } tproxy ip6 to [::1]:15001 meta mark set meta mark & 0xfcffffff | 0x01000000 accept
    meta l4proto { icmp, icmpv6 } meta mark set meta mark & 0xfcffffff | 0x01000000 accept
  }
  chain output {
    type route hook output priority mangle; policy accept;
    meta mark & 0x03000000 == 0x03000000 return
    tcp flags & (fin | syn | rst | ack) == syn goto new_own
    meta l4proto { tcp, udp, icmp, icmpv6 } ct mark & 0x03000000 == 0x02000000 ct direction original meta mark set meta mark & 0xfcffffff | 0x02000000 return
    meta l4proto udp ct state new goto new_own
  }
  chain new_own {
    fib daddr type { local, broadcast, multicast, anycast } return
    ip daddr 169.254.0.0/16 return
    ip6 daddr fe80::/10 return
    udp dport { 67, 68, 546, 547 } return
    ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 80 return
    ip6 daddr 2001:db8:1::/48 meta l4proto { tcp, udp } th dport 80 return
    meta skuid 0 return
    ct mark set ct mark & 0xfcffffff | 0x02000000
    meta mark set meta mark & 0xfcffffff | 0x02000000
  }
  chain own_arrives {
    meta l4proto { tcp, udp } tproxy ip to 127.0.0.1:15001 accept
    meta l4proto { tcp, udp } tproxy ip6 to [::1]:15001 accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    iifname { "lan0" } oifname != { "lan0" } ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } masquerade
    iifname { "lan0" } oifname != { "lan0" } ip6 saddr fc00::/7 masquerade
  }
)";

constexpr std::string_view kRedirect = R"(  chain prerouting {
    type nat hook prerouting priority -101; policy accept;
    iifname { "lan0" } tcp flags & (fin | syn | rst | ack) == syn goto new_forwarded
  }
  chain new_forwarded {
    fib daddr type { local, broadcast, multicast, anycast } return
    ip daddr 169.254.0.0/16 return
    ip6 daddr fe80::/10 return
    udp dport { 67, 68, 546, 547 } return
    fib daddr oifname { "lan0" } return
    ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 80 return
    ip6 daddr 2001:db8:1::/48 meta l4proto { tcp, udp } th dport 80 return
    ct mark set ct mark & 0xfcffffff | 0x01000000
    meta l4proto tcp redirect to :15001
  }
  chain output {
    type nat hook output priority -101; policy accept;
    meta mark & 0x03000000 == 0x03000000 return
    tcp flags & (fin | syn | rst | ack) == syn goto new_own
  }
  chain new_own {
    fib daddr type { local, broadcast, multicast, anycast } return
    ip daddr 169.254.0.0/16 return
    ip6 daddr fe80::/10 return
    udp dport { 67, 68, 546, 547 } return
    ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 80 return
    ip6 daddr 2001:db8:1::/48 meta l4proto { tcp, udp } th dport 80 return
    meta skuid 0 return
    ct mark set ct mark & 0xfcffffff | 0x02000000
    meta l4proto tcp redirect to :15001
  }
  chain input {
    type filter hook input priority filter - 1; policy accept;
    tcp dport 15001 ct status dnat accept
    tcp dport 15001 reject with tcp reset
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    iifname { "lan0" } oifname != { "lan0" } ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } masquerade
    iifname { "lan0" } oifname != { "lan0" } ip6 saddr fc00::/7 masquerade
  }
)";

constexpr std::string_view kTproxyClosed = R"(  chain prerouting {
    type filter hook prerouting priority mangle + 1; policy accept;
    iifname { "lan0" } meta mark & 0x03000000 != 0x01000000 goto forwarded
  }
  chain forwarded {
    tcp flags & (fin | syn | rst | ack) == syn goto new_forwarded
    meta l4proto { tcp, udp } ct mark & 0x03000000 == 0x01000000 ct direction original drop
    meta l4proto udp ct state { new, untracked } goto new_forwarded
  }
  chain new_forwarded {
    fib daddr type { local, broadcast, multicast, anycast } return
    ip daddr 169.254.0.0/16 return
    ip6 daddr fe80::/10 return
    udp dport { 67, 68, 546, 547 } return
    fib daddr oifname { "lan0" } return
    ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 80 return
    ip6 daddr 2001:db8:1::/48 meta l4proto { tcp, udp } th dport 80 return
    drop
  }
  chain output {
    type filter hook output priority mangle + 1; policy accept;
    meta mark & 0x03000000 == 0x03000000 return
    meta mark & 0x03000000 == 0x02000000 return
    tcp flags & (fin | syn | rst | ack) == syn goto new_own
    meta l4proto { tcp, udp } ct mark & 0x03000000 == 0x02000000 ct direction original drop
    meta l4proto udp ct state new goto new_own
  }
  chain new_own {
    fib daddr type { local, broadcast, multicast, anycast } return
    ip daddr 169.254.0.0/16 return
    ip6 daddr fe80::/10 return
    udp dport { 67, 68, 546, 547 } return
    ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 80 return
    ip6 daddr 2001:db8:1::/48 meta l4proto { tcp, udp } th dport 80 return
    meta skuid 0 return
    drop
  }
)";

constexpr std::string_view kRedirectClosed = R"(  chain prerouting {
    type filter hook prerouting priority mangle + 1; policy accept;
    iifname { "lan0" } tcp flags & (fin | syn | rst | ack) == syn goto new_forwarded
  }
  chain new_forwarded {
    fib daddr type { local, broadcast, multicast, anycast } return
    ip daddr 169.254.0.0/16 return
    ip6 daddr fe80::/10 return
    udp dport { 67, 68, 546, 547 } return
    fib daddr oifname { "lan0" } return
    ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 80 return
    ip6 daddr 2001:db8:1::/48 meta l4proto { tcp, udp } th dport 80 return
    meta mark set meta mark & 0xfcffffff | 0x01000000
  }
  chain prerouting_judge {
    type filter hook prerouting priority -90; policy accept;
    iifname { "lan0" } meta l4proto tcp ct mark & 0x03000000 == 0x01000000 ct direction original fib daddr type != local drop
    iifname { "lan0" } meta l4proto tcp ct mark & 0x03000000 == 0x01000000 ct direction original tcp dport != 15001 drop
    iifname { "lan0" } meta mark & 0x03000000 == 0x01000000 ct mark & 0x03000000 != 0x01000000 drop
    iifname { "lan0" } meta mark & 0x03000000 == 0x01000000 meta mark set meta mark & 0xfcffffff | 0x00000000
  }
  chain output {
    type filter hook output priority mangle + 1; policy accept;
    meta mark & 0x03000000 == 0x03000000 return
    tcp flags & (fin | syn | rst | ack) == syn goto new_own
  }
  chain new_own {
    fib daddr type { local, broadcast, multicast, anycast } return
    ip daddr 169.254.0.0/16 return
    ip6 daddr fe80::/10 return
    udp dport { 67, 68, 546, 547 } return
    ip daddr 192.0.2.0/24 meta l4proto { tcp, udp } th dport 80 return
    ip6 daddr 2001:db8:1::/48 meta l4proto { tcp, udp } th dport 80 return
    meta skuid 0 return
    meta mark set meta mark & 0xfcffffff | 0x02000000
  }
  chain output_judge {
    type filter hook output priority -90; policy accept;
    meta l4proto tcp ct mark & 0x03000000 == 0x02000000 ct direction original fib daddr type != local drop
    meta l4proto tcp ct mark & 0x03000000 == 0x02000000 ct direction original tcp dport != 15001 drop
    meta mark & 0x03000000 == 0x02000000 ct mark & 0x03000000 != 0x02000000 drop
    meta mark & 0x03000000 == 0x02000000 meta mark set meta mark & 0xfcffffff | 0x00000000
  }
)";

TEST(TproxyRuleset, reads_word_for_word) { EXPECT_EQ(tproxy::ruleset(full_spec()), kTproxy); }

TEST(RedirectRuleset, reads_word_for_word) { EXPECT_EQ(redirect::ruleset(full_spec()), kRedirect); }

TEST(TproxyClosedRuleset, reads_word_for_word) {
  EXPECT_EQ(tproxy::closed_ruleset(full_spec()), kTproxyClosed);
}

TEST(RedirectClosedRuleset, reads_word_for_word) {
  EXPECT_EQ(redirect::closed_ruleset(full_spec()), kRedirectClosed);
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
    EXPECT_THAT(text, Not(HasSubstr("hook output")));
    EXPECT_THAT(text, HasSubstr("chain new_forwarded {"));
  }
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
