// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/rule_guard.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>

#include "in_namespace.h"
#include "kernel/links.h"

namespace shunt {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

RuleSpec rule(Family family) {
  return {.family = family, .priority = 177, .mark = 1, .mask = 3, .table = 17700};
}

RouteSpec route(Family family, const std::string& interface) {
  return {.family = family,
          .type = RouteType::local,
          .destination = Address::any(family),
          .table = 17700,
          .interface = interface};
}

/// Lets the guard work until `done`; false if that takes longer than the promise of 2 s.
bool within_promise(RuleGuard& guard, const std::function<bool()>& done) {
  const auto deadline = steady_clock::now() + milliseconds(2000);
  while (!done()) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd wait{.fd = guard.fd(), .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, static_cast<int>(left)) == 1) guard.handle();
  }
  return true;
}

bool rule_is_there(const RuleSpec& wanted) {
  const auto rules = list_rules(wanted.family);
  return rules && std::ranges::find(*rules, wanted) != rules->end();
}

bool route_is_there(Family family) { return list_routes(family, 17700)->size() == 1; }

TEST(RuleGuard, puts_deleted_rules_and_routes_back) {
  run_in_test_namespace([](Checks& check) {
    check.ok(set_link_up("lo"), "lo");
    RuleGuard::Guarded guarded;
    for (const Family family : {Family::ipv4, Family::ipv6}) {
      guarded.rules.push_back(rule(family));
      guarded.routes.push_back(route(family, "lo"));
      check.ok(add_route(guarded.routes.back()), "route");
      check.ok(add_rule(guarded.rules.back()), "rule");
    }
    auto guard = RuleGuard::create(guarded);
    if (!check.ok(guard, "guard")) return;
    for (const Family family : {Family::ipv4, Family::ipv6}) {
      check.ok(delete_rule(rule(family)), "delete the rule");
      check.that(!rule_is_there(rule(family)), "deleted");
      check.that(within_promise(*guard, [&] { return rule_is_there(rule(family)); }), "rule back");
      check.ok(delete_route(route(family, "lo")), "delete the route");
      check.that(!route_is_there(family), "deleted");
      check.that(within_promise(*guard, [&] { return route_is_there(family); }), "route back");
    }
    check.that(guard->restored() == 4, "counted");
  });
}

TEST(RuleGuard, brings_the_device_and_its_routes_back) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& check) {
    auto tun = TunDevice::create();
    if (!check.ok(tun, "tun")) return;
    RuleGuard::Guarded guarded{.tun = &*tun};
    for (const Family family : {Family::ipv4, Family::ipv6}) {
      guarded.routes.push_back(route(family, tun->name()));
      check.ok(add_route(guarded.routes.back()), "route");
    }
    auto guard = RuleGuard::create(guarded);
    if (!check.ok(guard, "guard")) return;
    check.ok(set_link_up(tun->name(), false), "down");
    const auto both = [] { return route_is_there(Family::ipv4) && route_is_there(Family::ipv6); };
    check.that(!both(), "its routes went with it");
    check.that(within_promise(*guard, both), "back");
  });
}

TEST(RuleGuard, keeps_its_promise_against_a_program_that_goes_on_deleting) {
  run_in_test_namespace([](Checks& check) {
    check.ok(add_rule(rule(Family::ipv4)), "rule");
    auto guard = RuleGuard::create({.rules = {rule(Family::ipv4)}});
    if (!check.ok(guard, "guard")) return;
    for (std::uint32_t round = 0; round <= RuleGuard::kContestedAfter; ++round) {
      check.ok(delete_rule(rule(Family::ipv4)), "delete");
      check.that(within_promise(*guard, [] { return rule_is_there(rule(Family::ipv4)); }), "back");
    }
  });
}

TEST(RuleGuard, does_nothing_about_others) {
  run_in_test_namespace([](Checks& check) {
    const RuleSpec foreign{.priority = 5, .mark = 4, .mask = 4, .table = 300, .protocol = 3};
    check.ok(add_rule(foreign), "foreign");
    check.ok(add_rule(rule(Family::ipv4)), "rule");
    auto guard = RuleGuard::create({.rules = {rule(Family::ipv4)}});
    if (!check.ok(guard, "guard")) return;
    check.ok(delete_rule(foreign), "delete");
    check.ok(delete_rule(rule(Family::ipv4)), "delete ours as well");
    check.that(within_promise(*guard, [] { return rule_is_there(rule(Family::ipv4)); }), "back");
    check.that(!rule_is_there(foreign) && guard->restored() == 1, "only ours");
  });
}

}  // namespace
}  // namespace shunt
