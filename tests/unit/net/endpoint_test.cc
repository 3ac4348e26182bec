// SPDX-License-Identifier: GPL-2.0-only
#include "net/endpoint.h"

#include <gtest/gtest.h>

#include <cstring>

namespace shunt {
namespace {

sockaddr_storage storage_of(const Endpoint& endpoint, Family family) {
  const SocketAddress address(endpoint, family);
  sockaddr_storage storage{};
  std::memcpy(&storage, address.get(), address.size());
  return storage;
}

TEST(Endpoint, parses_what_it_prints) {
  for (const char* text : {"192.0.2.1:80", "[2001:db8::1]:443", "0.0.0.0:0", "[::]:65535"}) {
    const auto endpoint = Endpoint::parse(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(endpoint->text(), text);
  }
}

TEST(Endpoint, refuses_malformed_text) {
  for (const char* text : {"", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1",
                           "2001:db8::1:80", "[192.0.2.1]:80", "[2001:db8::1]", "host:80"}) {
    EXPECT_FALSE(Endpoint::parse(text)) << text;
  }
}

TEST(Endpoint, mapped_ipv4_of_a_dual_stack_socket_is_plain_ipv4) {
  const auto endpoint = *Endpoint::parse("192.0.2.1:80");
  const auto storage = storage_of(endpoint, Family::ipv6);
  ASSERT_EQ(storage.ss_family, AF_INET6);
  EXPECT_EQ(Endpoint::from(storage), endpoint);
}

TEST(Address, classifies_ranges) {
  EXPECT_TRUE(Address::parse("127.0.0.53")->is_loopback());
  EXPECT_TRUE(Address::parse("::1")->is_loopback());
  EXPECT_TRUE(Address::parse("172.31.255.255")->is_private());
  EXPECT_FALSE(Address::parse("172.32.0.0")->is_private());
  EXPECT_TRUE(Address::parse("fd00::1")->is_private());
  EXPECT_TRUE(Address::parse("fe80::1")->is_link_local());
  EXPECT_TRUE(Address::parse("239.1.1.1")->is_multicast());
  EXPECT_TRUE(Address::any(Family::ipv6).is_any());
}

}  // namespace
}  // namespace shunt
