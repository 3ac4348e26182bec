// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/network_towards.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "kernel/links.h"
#include "kernel/policy_route.h"
#include "kernel/tun.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

RouteSpec route_to(const char* network, std::uint32_t table) {
  const auto parsed = *Network::parse(network);
  return {.family = parsed.address.family(),
          .type = RouteType::unicast,
          .destination = parsed.address,
          .prefix_length = static_cast<std::uint8_t>(parsed.prefix_length),
          .table = table,
          .interface = "t0"};
}

TEST(NetworkTowards, is_that_of_the_route_which_packets_take) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& checks) {
    const auto device = TunDevice::create("t0");
    if (!checks.ok(device, "a device")) return;
    const auto towards = [](const char* address) {
      return network_towards(*Address::parse(address)).text();
    };
    checks.that(towards("10.1.2.3") == "10.1.2.3", "no route: " + towards("10.1.2.3"));
    checks.ok(add_route(route_to("10.0.0.0/8", 254)), "a wide route");
    checks.ok(add_route(route_to("10.1.0.0/16", 254)), "a narrow route");
    checks.ok(add_route(route_to("0.0.0.0/0", 254)), "a default route");
    checks.ok(add_route(route_to("2001:db8:1::/48", 254)), "an IPv6 route");
    checks.that(towards("10.1.2.3") == "10.1.0.0/16", "the narrow one: " + towards("10.1.2.3"));
    checks.that(towards("10.2.0.1") == "10.0.0.0/8", "the wide one: " + towards("10.2.0.1"));
    checks.that(towards("192.0.2.1") == "192.0.2.1", "the default: " + towards("192.0.2.1"));
    checks.that(towards("2001:db8:1::9") == "2001:db8:1::/48", towards("2001:db8:1::9"));
    // A rule may lead elsewhere: what counts is the way that packets take.
    checks.ok(add_route(route_to("10.1.2.0/24", 300)), "a route of another table");
    checks.ok(add_rule({.priority = 100, .table = 300}), "a rule that leads there");
    checks.that(towards("10.1.2.3") == "10.1.2.0/24", "by a rule: " + towards("10.1.2.3"));
  });
}

}  // namespace
}  // namespace shunt
