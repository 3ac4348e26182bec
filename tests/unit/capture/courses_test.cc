// SPDX-License-Identifier: GPL-2.0-only
#include "capture/courses.h"

#include <gtest/gtest.h>

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

TEST(Courses, a_proxy_reaches_what_this_machine_has_no_route_to) {
  const Courses courses({}, true);
  EXPECT_EQ(courses.unreachable(endpoint("203.0.113.1:53")), 0);
}

}  // namespace
}  // namespace shunt
