// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/policy_route.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "in_namespace.h"
#include "kernel/links.h"
#include "kernel/netlink.h"
#include "kernel/sysctl.h"
#include "kernel/tun.h"

namespace shunt {
namespace {

RuleSpec rule(Family family) {
  return {.family = family, .priority = 177, .mark = 0x100, .mask = 0xff00, .table = 17700};
}

RouteSpec local_default(Family family, std::string interface) {
  return {.family = family,
          .type = RouteType::local,
          .destination = Address::any(family),
          .table = 17700,
          .interface = std::move(interface),
          .metric = 1024};
}

bool is_listed(const RuleSpec& wanted) {
  const auto rules = list_rules(wanted.family);
  return rules && std::ranges::find(*rules, wanted) != rules->end();
}

std::size_t routes_in_table(Family family) {
  const auto routes = list_routes(family, 17700);
  return routes ? routes->size() : 999;
}

TEST(RuleSpec, prints_as_the_ip_command) {
  RuleSpec spec = rule(Family::ipv6);
  spec.in_interface = "g0";
  EXPECT_EQ(spec.text(),
            "ip -6 rule add pref 177 fwmark 0x100/0xff00 iif g0 lookup 17700 protocol 177");
}

TEST(RuleSpec, prints_what_is_no_lookup) {
  RuleSpec spec = rule(Family::ipv4);
  const std::string begin = "ip rule add pref 177 fwmark 0x100/0xff00 ";
  spec.action = RuleAction::jump;
  spec.jump_to = 200;
  EXPECT_EQ(spec.text(), begin + "goto 200 protocol 177");
  spec.action = RuleAction::nothing;
  EXPECT_EQ(spec.text(), begin + "nop protocol 177");
  spec.action = RuleAction::unreachable;
  EXPECT_EQ(spec.text(), begin + "unreachable protocol 177");
}

TEST(RouteSpec, prints_as_the_ip_command) {
  EXPECT_EQ(local_default(Family::ipv4, "shunt0").text(),
            "ip route add local default dev shunt0 metric 1024 table 17700 proto 177");
}

TEST(PolicyRule, is_there_while_it_lives) {
  run_in_test_namespace([](Checks& check) {
    for (const Family family : {Family::ipv4, Family::ipv6}) {
      RuleSpec spec = rule(family);
      spec.in_interface = "lo";
      {
        const auto owned = PolicyRule::create(spec);
        if (!check.ok(owned, "create")) continue;
        check.that(is_listed(spec), "listed as it was made");
        check.that(!add_rule(spec), "a second one is refused");
      }
      check.that(!is_listed(spec), "gone");
      check.ok(delete_rule(spec), "deleting what is not there");
    }
  });
}

TEST(PolicyRoute, goes_with_its_owner_and_with_its_device) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& check) {
    for (const Family family : {Family::ipv4, Family::ipv6}) {
      std::optional<TunDevice> tun;
      auto made = TunDevice::create();
      if (!check.ok(made, "tun")) return;
      tun = std::move(*made);
      check.that(tun->name().starts_with("shunt"), "named");
      const auto spec = local_default(family, tun->name());
      {
        const auto route = PolicyRoute::create(spec);
        check.ok(route, "route");
        const auto routes = list_routes(family, 17700);
        check.that(routes && routes->size() == 1 && routes->front().text() == spec.text(),
                   routes && !routes->empty() ? routes->front().text() : "no route");
        check.ok(add_route(spec), "adding what is there");
      }
      check.that(routes_in_table(family) == 0, "gone with its owner");
      check.ok(add_route(spec), "again");
      tun.reset();
      check.that(routes_in_table(family) == 0, "gone with its device");
      check.ok(delete_route(spec), "deleting what is gone");
    }
  });
}

TEST(TunDevice, has_no_address_of_its_own) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& check) {
    const auto tun = TunDevice::create();
    if (!check.ok(tun, "tun")) return;
    const auto addresses = list_addresses();
    check.that(addresses && addresses->empty(), "no link-local address");
    const auto links = list_links();
    const auto ours = std::ranges::find(*links, tun->name(), &Link::name);
    check.that(ours != links->end() && ours->up && ours->kind == "tun", "up");
  });
}

TEST(TunDevice, carries_ipv6_routes_where_ipv6_is_off_by_default) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& check) {
    if (!write_sysctl("net/ipv6/conf/default/disable_ipv6", "1")) return;
    const auto tun = TunDevice::create();
    if (!check.ok(tun, "tun")) return;
    check.ok(add_route(local_default(Family::ipv6, tun->name())), "route");
  });
}

TEST(TunDevice, comes_back_after_it_was_deleted) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& check) {
    auto tun = TunDevice::create();
    if (!check.ok(tun, "tun")) return;
    const std::string name = tun->name();
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    NetlinkMessage message(RTM_DELLINK, 0);
    message.put_header<ifinfomsg>().ifi_index = static_cast<int>(*link_index(name));
    check.ok(socket->request(message, "ip link del"), "delete");
    check.that(!link_index(name), "deleted");
    const auto restored = tun->restore();
    check.that(restored && *restored && tun->name() == name, "back under its name");
    check.ok(add_route(local_default(Family::ipv4, name)), "usable");
  });
}

TEST(TunDevice, comes_back_after_it_was_taken_down) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& check) {
    auto tun = TunDevice::create();
    if (!check.ok(tun, "tun")) return;
    const std::string name = tun->name();
    auto restored = tun->restore();
    check.that(restored && !*restored, "nothing to do");
    check.ok(set_link_up(name, false), "down");
    restored = tun->restore();
    check.that(restored && *restored, "was down");
    check.ok(add_route(local_default(Family::ipv4, name)), "usable");
  });
}

TEST(KernelState, after_sigkill_only_the_inert_rule_is_left) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& check) {
    std::array<int, 2> ends;
    check.that(::pipe(ends.data()) == 0, "pipe");
    const pid_t owner = ::fork();
    if (owner == 0) {
      static auto tun = TunDevice::create();
      static auto route = PolicyRoute::create(local_default(Family::ipv4, tun->name()));
      static auto route6 = PolicyRoute::create(local_default(Family::ipv6, tun->name()));
      static auto owned = PolicyRule::create(rule(Family::ipv4));
      static_cast<void>(::write(ends[1], "r", 1));
      while (true) ::pause();
    }
    char byte;
    check.that(::read(ends[0], &byte, 1) == 1, "ready");
    check.that(routes_in_table(Family::ipv4) == 1, "IPv4 route");
    check.that(routes_in_table(Family::ipv6) == 1, "IPv6 route");
    ::kill(owner, SIGKILL);
    ::waitpid(owner, nullptr, 0);
    check.that(routes_in_table(Family::ipv4) == 0, "IPv4 route gone");
    check.that(routes_in_table(Family::ipv6) == 0, "IPv6 route gone");
    const auto links = list_links();
    check.that(links && links->size() == 1, "device gone");
    check.that(is_listed(rule(Family::ipv4)), "the rule stays");
  });
}

TEST(Routes, tell_the_ways_out) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& check) {
    auto way_out = has_unicast_route(Family::ipv4);
    check.that(way_out && !*way_out, "an empty namespace has none");
    check.ok(set_link_up("lo"), "lo");
    const auto tun = TunDevice::create();
    if (!check.ok(tun, "tun")) return;
    const auto address = *Address::parse("192.0.2.1");
    check.ok(add_address(tun->name(), address, 24), "address");
    check.ok(add_address(tun->name(), address, 24), "the same again");
    way_out = has_unicast_route(Family::ipv4);
    check.that(way_out && *way_out, "now it has one");
    check.that(default_route_interfaces()->empty(), "no default route yet");
    check.ok(add_route({.gateway = Address::parse("192.0.2.254")}), "default route");
    check.that(default_route_interfaces() == std::vector{tun->name()}, "the default route's");
    check.ok(add_address(tun->name(), *Address::parse("2001:db8::1"), 64), "IPv6 address");
    const auto addresses = list_addresses();
    check.that(std::ranges::any_of(*addresses,
                                   [&](const InterfaceAddress& entry) {
                                     return entry.interface == tun->name() &&
                                            entry.address.text() == "2001:db8::1" &&
                                            entry.prefix_length == 64;
                                   }),
               "listed");
  });
}

}  // namespace
}  // namespace shunt
