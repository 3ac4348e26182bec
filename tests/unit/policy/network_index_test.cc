// SPDX-License-Identifier: GPL-2.0-only
#include "policy/network_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::uint32_t> sorted(std::vector<std::uint32_t> terms) {
  std::ranges::sort(terms);
  return terms;
}

std::vector<std::uint32_t> found(const NetworkIndex& index, const Address& address) {
  std::vector<std::uint32_t> terms;
  index.find(address, terms);
  return sorted(std::move(terms));
}

std::vector<std::uint32_t> found(const NetworkIndex& index, const char* address) {
  return found(index, *Address::parse(address));
}

TEST(NetworkIndex, finds_all_networks_around_an_address) {
  NetworkIndex index;
  std::uint32_t term = 0;
  for (const char* text : {"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "10.2.0.0/16",
                           "0.0.0.0/0", "2001:db8::/32", "2001:db8::1", "::/0"}) {
    index.add(*Network::parse(text), term++);
  }
  index.build();
  EXPECT_THAT(found(index, "10.1.2.3"), ElementsAre(0, 1, 2, 3, 5));
  EXPECT_THAT(found(index, "10.1.2.4"), ElementsAre(0, 1, 2, 5));
  EXPECT_THAT(found(index, "10.3.0.1"), ElementsAre(0, 5));
  EXPECT_THAT(found(index, "255.255.255.255"), ElementsAre(5));
  EXPECT_THAT(found(index, "::ffff:10.2.0.1"), ElementsAre(0, 4, 5));
  EXPECT_THAT(found(index, "2001:db8::1"), ElementsAre(6, 7, 8));
  EXPECT_THAT(found(index, "2001:db9::1"), ElementsAre(8));
}

TEST(NetworkIndex, without_networks_finds_none) {
  NetworkIndex index;
  index.build();
  EXPECT_THAT(found(index, "10.0.0.1"), IsEmpty());
}

Address random_address(std::mt19937& random, bool v4) {
  if (v4) return Address(in_addr{static_cast<in_addr_t>(random() & 0xf00f00f0U)});
  in6_addr bytes{};
  for (auto& byte : bytes.s6_addr) byte = static_cast<std::uint8_t>(random() & 0x81U);
  bytes.s6_addr[0] = 0x20;
  return Address(bytes);
}

/// Dense networks, so that they nest often.
TEST(NetworkIndex, finds_what_looking_at_each_network_finds) {
  std::mt19937 random(1);
  std::vector<Network> networks;
  NetworkIndex index;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    const bool v4 = random() % 2 == 0;
    networks.push_back(Network::of(random_address(random, v4), random() % (v4 ? 33 : 129)));
    index.add(networks.back(), i);
  }
  index.build();
  for (int round = 0; round < 2000; ++round) {
    const Address address = random_address(random, round % 2 == 0);
    std::vector<std::uint32_t> slow;
    for (std::uint32_t i = 0; i < networks.size(); ++i) {
      if (networks[i].contains(address)) slow.push_back(i);
    }
    EXPECT_EQ(found(index, address), slow) << address.text();
  }
}

}  // namespace
}  // namespace shunt
