// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/local_destination.h"

#include <gtest/gtest.h>

#include "kernel/links.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

TEST(LocalDestination, loopback_and_the_wildcard_are_this_machine) {
  for (const char* address : {"127.0.0.1", "127.255.0.9", "0.0.0.0", "::1", "::"}) {
    EXPECT_TRUE(ends_on_this_machine(*Address::parse(address))) << address;
  }
}

TEST(LocalDestination, own_addresses_are_and_their_neighbours_are_not) {
  run_in_test_namespace([](Checks& checks) {
    checks.ok(set_link_up("lo"), "lo");
    checks.ok(add_address("lo", *Address::parse("192.0.2.1"), 24), "v4");
    checks.ok(add_address("lo", *Address::parse("2001:db8::1"), 128), "v6");
    const auto ends = [](const char* address) {
      return ends_on_this_machine(*Address::parse(address));
    };
    checks.that(ends("192.0.2.1"), "an own address");
    // The kernel makes the address's route by itself, a moment later (addrconf_dad_work()).
    for (int i = 0; i < 1000 && !ends("2001:db8::1"); ++i) ::usleep(1000);
    checks.that(ends("2001:db8::1"), "an own IPv6 address");
    checks.that(ends("192.0.2.255"), "an own broadcast address");
    checks.that(!ends("198.51.100.1"), "a foreign address");
    checks.that(!ends("2001:db8::2"), "a foreign IPv6 address");
  });
}

}  // namespace
}  // namespace shunt
