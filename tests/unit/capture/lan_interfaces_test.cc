// SPDX-License-Identifier: GPL-2.0-only
#include "capture/lan_interfaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

InterfaceAddress entry(unsigned index, std::string interface, const char* address,
                       std::uint8_t prefix_length) {
  return {.index = index,
          .interface = std::move(interface),
          .address = *Address::parse(address),
          .prefix_length = prefix_length};
}

std::vector<std::string> names(const std::vector<LanInterface>& chosen) {
  std::vector<std::string> out;
  for (const LanInterface& lan : chosen) out.push_back(lan.name);
  return out;
}

TEST(DefaultLan, is_what_has_a_private_address_and_no_default_route) {
  const auto chosen = default_lan_interfaces(
      {entry(1, "lo", "127.0.0.1", 8), entry(2, "wan0", "192.168.1.2", 24),
       entry(3, "br-lan", "10.0.0.1", 24), entry(4, "v6lan", "fd00:1::1", 64),
       entry(5, "dmz", "203.0.113.1", 24), entry(6, "eth6", "fe80::1", 64)},
      {"wan0"});
  EXPECT_THAT(names(chosen), ElementsAre("br-lan", "v6lan"));
  EXPECT_EQ(chosen.front().why, "10.0.0.1/24");
}

TEST(DefaultLan, names_each_interface_once) {
  EXPECT_THAT(names(default_lan_interfaces(
                  {entry(3, "lan0", "10.0.0.1", 24), entry(3, "lan0", "fd00::1", 64)}, {})),
              ElementsAre("lan0"));
}

TEST(DefaultLan, may_be_nothing) {
  EXPECT_THAT(default_lan_interfaces({entry(2, "wan0", "192.168.1.2", 24)}, {"wan0"}), IsEmpty());
  EXPECT_THAT(default_lan_interfaces({entry(2, "", "192.168.1.2", 24)}, {}), IsEmpty());
}

TEST(ChooseLan, refuses_an_interface_that_is_not_there) {
  const auto chosen = choose_lan_interfaces({"no-such-if0"});
  ASSERT_FALSE(chosen);
  EXPECT_EQ(chosen.error().error.kind, Kind::configuration);
  EXPECT_FALSE(chosen.error().error.help.empty());
  EXPECT_EQ(chosen.error().name, "no-such-if0");
}

TEST(ChooseLan, refuses_loopback) {
  const auto chosen = choose_lan_interfaces({"lo"});
  ASSERT_FALSE(chosen);
  EXPECT_EQ(chosen.error().error.kind, Kind::usage);
  EXPECT_EQ(chosen.error().name, "lo");
}

}  // namespace
}  // namespace shunt
