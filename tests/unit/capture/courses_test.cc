// SPDX-License-Identifier: GPL-2.0-only
#include "capture/courses.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "kernel/links.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

Endpoint endpoint(const char* text) { return Endpoint::parse(text).value_or(Endpoint{}); }

TEST(Courses, what_ends_on_this_machine_is_not_captured) {
  Courses courses({}, false);
  for (const char* own : {"127.0.0.1:80", "127.9.9.9:53", "[::1]:80", "0.0.0.0:80", "[::]:80"}) {
    EXPECT_EQ(courses.of(endpoint(own)), Course::native) << own;
  }
  for (const char* other : {"203.0.113.1:80", "[2001:db8::1]:443", "169.254.9.9:80"}) {
    EXPECT_EQ(courses.of(endpoint(other)), Course::captured) << other;
  }
}

TEST(Courses, questions_to_a_resolver_on_loopback_are_captured) {
  Courses courses({*Address::parse("127.0.0.53"), *Address::parse("::1")}, false);
  EXPECT_EQ(courses.of(endpoint("127.0.0.53:53")), Course::captured);
  EXPECT_EQ(courses.of(endpoint("[::1]:53")), Course::captured);
  EXPECT_EQ(courses.of(endpoint("127.0.0.53:54")), Course::native);
  EXPECT_EQ(courses.of(endpoint("127.0.0.1:53")), Course::native);
}

TEST(Courses, what_has_many_receivers_is_refused) {
  Courses courses({}, true);
  for (const char* many : {"224.0.0.251:5353", "255.255.255.255:67", "[ff02::fb]:5353"}) {
    EXPECT_EQ(courses.of(endpoint(many)), Course::refused) << many;
  }
}

// Which are known by the networks that this machine is in.
TEST(Courses, so_are_the_broadcast_addresses_of_its_networks) {
  run_in_test_namespace([](Checks& checks) {
    const auto own = [&](const char* text, std::uint8_t length) {
      checks.ok(add_address("lo", Address::parse(text).value_or(Address{}), length), text);
    };
    if (!checks.ok(set_link_up("lo"), "lo is up")) return;
    own("10.9.0.1", 24);
    own("10.9.1.129", 25);
    own("10.9.2.0", 31);
    own("10.9.3.1", 32);
    own("fd00::1", 64);
    Courses courses({}, true);
    for (const char* many : {"10.9.0.255:9", "10.9.1.255:9"}) {
      checks.that(courses.of(endpoint(many)) == Course::refused, many);
    }
    for (const char* one :
         {"10.9.1.127:9", "10.9.2.1:9", "10.9.3.255:9", "[fd00::ffff:ffff:ffff:ffff]:9"}) {
      checks.that(courses.of(endpoint(one)) == Course::captured, one);
    }
    for (const char* here : {"10.9.0.1:9", "10.9.2.0:9", "[fd00::1]:9", "127.255.255.255:9"}) {
      checks.that(courses.of(endpoint(here)) == Course::native, here);
    }
  });
}

TEST(Courses, a_proxy_reaches_what_this_machine_has_no_route_to) {
  run_in_test_namespace([](Checks& checks) {
    const Courses directly({}, false);
    const Courses through_proxy({}, true);
    const Endpoint v4 = endpoint("203.0.113.1:53");
    const Endpoint v6 = endpoint("[2001:db8::1]:53");
    checks.that(directly.unreachable(v4) == ENETUNREACH, "IPv4");
    checks.that(through_proxy.unreachable(v4) == 0, "IPv4 through a proxy");
    for (const Courses* either : {&directly, &through_proxy}) {
      checks.that(either->unreachable(v6) != 0, "IPv6, which names lead to as this machine can");
    }
  });
}

}  // namespace
}  // namespace shunt
