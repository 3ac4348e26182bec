// SPDX-License-Identifier: GPL-2.0-only
#include "capture/host_network_record.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

Destinations destinations(std::string_view address, std::uint8_t length) {
  return {*Address::parse(address), length};
}

TEST(HostNetworkRecord, brings_both_families_across) {
  const HostNetwork host{
      .ipv4 = {.source = Address::parse("192.0.2.2"),
               .routes = {destinations("192.0.2.0", 24), destinations("203.0.113.0", 25)}},
      .ipv6 = {.source = Address::parse("2001:db8::2"), .routes = {destinations("::", 0)}}};
  EXPECT_EQ(host_network_from_record(host_network_record(host)), host);
}

TEST(HostNetworkRecord, brings_absent_families_across) {
  const HostNetwork none;
  EXPECT_EQ(host_network_from_record(host_network_record(none)), none);
  HostNetwork one;
  one.ipv6 = {.source = Address::parse("fd00::2"), .routes = {destinations("fd00::", 64)}};
  EXPECT_EQ(host_network_from_record(host_network_record(one)), one);
}

TEST(HostNetworkRecord, refuses_what_is_malformed) {
  for (const auto* text : {"nonsense\n\n", "192.0.2.2 192.0.2.0\n\n", "192.0.2.2 192.0.2.0/33\n\n",
                           "192.0.2.2 /24\n\n", "\n2001:db8::2 ::/129\n"}) {
    EXPECT_FALSE(host_network_from_record(text)) << text;
  }
}

}  // namespace
}  // namespace shunt
