// SPDX-License-Identifier: GPL-2.0-only
#include "capture/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/net_cls.h"

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Exclusion parsed(std::string_view text) {
  const auto exclusion = parse_exclusion(text);
  EXPECT_TRUE(exclusion) << text << ": " << (exclusion ? "" : exclusion.error().message);
  return exclusion.value_or(Exclusion{});
}

SelectorError mistake(std::string_view text) {
  const auto exclusion = parse_exclusion(text);
  EXPECT_FALSE(exclusion) << text;
  return exclusion ? SelectorError{} : exclusion.error();
}

TEST(Exclusion, of_addresses_is_one_match_for_each_family) {
  const auto rule = parsed("to 192.0.2.0/24,2001:db8::/32,198.51.100.7");
  EXPECT_THAT(rule.forwarded,
              ElementsAre("ip daddr { 192.0.2.0/24, 198.51.100.7 }", "ip6 daddr 2001:db8::/32"));
  EXPECT_EQ(rule.own, rule.forwarded);
}

TEST(Exclusion, ands_its_terms) {
  EXPECT_THAT(parsed("proto udp port 123").forwarded, ElementsAre("meta l4proto udp th dport 123"));
  EXPECT_THAT(parsed("client 192.0.2.7 to 203.0.113.0/24 port 80,443").forwarded,
              ElementsAre("ip saddr 192.0.2.7 ip daddr 203.0.113.0/24 "
                          "meta l4proto { tcp, udp } th dport { 80, 443 }"));
  EXPECT_THAT(parsed("proto tcp").own, ElementsAre("meta l4proto tcp"));
}

TEST(Exclusion, merges_what_overlaps_because_nftables_refuses_it) {
  EXPECT_THAT(parsed("port 80-90,85-100,22").forwarded,
              ElementsAre("meta l4proto { tcp, udp } th dport { 22, 80-100 }"));
  EXPECT_THAT(parsed("to 10.0.0.0/8,10.1.0.0/16,10.0.0.0/8").forwarded,
              ElementsAre("ip daddr 10.0.0.0/8"));
}

TEST(Exclusion, clears_the_host_bits_of_a_block) {
  EXPECT_THAT(parsed("to 192.168.77.5/20").forwarded, ElementsAre("ip daddr 192.168.64.0/20"));
  EXPECT_THAT(parsed("to 2001:db8:ffff::1/33").forwarded,
              ElementsAre("ip6 daddr 2001:db8:8000::/33"));
  EXPECT_THAT(parsed("to 192.0.2.1/0").forwarded, ElementsAre("ip daddr 0.0.0.0/0"));
}

TEST(Exclusion, of_users_matches_own_traffic_alone) {
  const auto rule = parsed("uid 0,1000-2000");
  EXPECT_THAT(rule.own, ElementsAre("meta skuid { 0, 1000-2000 }"));
  EXPECT_THAT(rule.forwarded, IsEmpty());
  EXPECT_THAT(parsed("uid root gid root").own, ElementsAre("meta skuid 0 meta skgid 0"));
}

TEST(Exclusion, of_classes_matches_own_traffic_alone) {
  if (!check_net_cls()) GTEST_SKIP() << "needs cgroups: no net_cls in this kernel";
  const auto rule = parsed("classid 1:10,0x20010 port 80");
  EXPECT_THAT(rule.own, ElementsAre("meta l4proto { tcp, udp } th dport 80 meta cgroup { 65552, "
                                    "131088 }"));
  EXPECT_THAT(rule.forwarded, IsEmpty());
  EXPECT_THAT(mistake("classid 1:10 in eth0").message, HasSubstr("never match"));
  EXPECT_THAT(mistake("classid web").message, HasSubstr("no class of net_cls"));
}

TEST(Exclusion, of_users_alone_lets_all_their_traffic_out) {
  const auto users = parsed("uid 0,1000-2000").users;
  ASSERT_EQ(users.size(), 2U);
  EXPECT_EQ(users[0].high, 0U);
  EXPECT_EQ(users[1].low, 1000U);
  EXPECT_EQ(users[1].high, 2000U);
  EXPECT_THAT(parsed("uid 0 port 80").users, IsEmpty());
  EXPECT_THAT(parsed("port 80 uid 0").users, IsEmpty());
  EXPECT_THAT(parsed("gid 0").users, IsEmpty());
  EXPECT_THAT(parsed("port 80").users, IsEmpty());
}

TEST(Exclusion, of_interfaces_matches_forwarded_traffic_alone) {
  const auto rule = parsed("in br-lan,eth1.7 proto tcp");
  EXPECT_THAT(rule.forwarded, ElementsAre("meta l4proto tcp iifname { \"br-lan\", \"eth1.7\" }"));
  EXPECT_THAT(rule.own, IsEmpty());
}

TEST(Exclusion, mistakes_are_pointed_at) {
  const auto typo = mistake("proto tcp prot udp");
  EXPECT_EQ(typo.first, 10U);
  EXPECT_EQ(typo.length, 4U);
  EXPECT_THAT(typo.suggestion, testing::AnyOf("proto", "port"));
  const auto address = mistake("to 192.0.2.0/24,10.0.0.300 port 80");
  EXPECT_EQ(address.first, 16U);
  EXPECT_EQ(address.length, 10U);
  const auto missing = mistake("to");
  EXPECT_EQ(missing.first, 2U);
  EXPECT_EQ(missing.length, 1U);
}

TEST(Exclusion, refuses_what_can_never_match) {
  for (const char* text :
       {"to 192.0.2.1 client 2001:db8::1", "uid 0 in eth0", "proto tcp proto udp"}) {
    EXPECT_THAT(mistake(text).message, HasSubstr("never match")) << text;
  }
}

TEST(Exclusion, refuses_malformed_text) {
  for (const char* text : {"", "  ", "to ,", "to 192.0.2.1,", "port 65536", "port 9-1", "port -1",
                           "port a", "proto icmp", "to 192.0.2.1/33", "to 192.0.2.1/", "to /8",
                           "to host.example", "uid no-such-user-here", "in a-name-that-is-too-long",
                           "in x\"y", "to 192.0.2.1;drop", "port 80;", "Port 80"}) {
    EXPECT_FALSE(mistake(text).message.empty()) << text;
  }
}

TEST(Exclusion, says_that_the_kernel_cannot_match_names) {
  EXPECT_THAT(mistake("host *.example").message, HasSubstr("the kernel cannot match"));
}

TEST(Exclusion, of_a_user_is_the_same_as_of_its_number) {
  EXPECT_EQ(parsed("user root").own, parsed("uid 0").own);
}

TEST(Exclusion, takes_neither_files_nor_negation_nor_unknown_cgroups) {
  EXPECT_THAT(mistake("to @networks.txt").message, HasSubstr("file"));
  EXPECT_THAT(mistake("proto tcp not port 80").message, HasSubstr("\"not\""));
  EXPECT_EQ(mistake("proto tcp not port 80").first, 10U);
  EXPECT_THAT(mistake("cgroup /no/such/cgroup").message, HasSubstr("cgroup"));
}

}  // namespace
}  // namespace shunt
