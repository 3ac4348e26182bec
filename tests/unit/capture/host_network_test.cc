// SPDX-License-Identifier: GPL-2.0-only
#include "capture/host_network.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

std::vector<std::string> texts(const std::vector<Address>& addresses) {
  std::vector<std::string> found;
  for (const auto& address : addresses) found.push_back(address.text());
  return found;
}

using Texts = std::vector<std::string>;

TEST(LoopbackNameServers, are_picked_out_of_a_resolv_conf) {
  EXPECT_EQ(texts(loopback_name_servers("# comment\nnameserver 127.0.0.53\noptions edns0\n")),
            Texts{"127.0.0.53"});
  EXPECT_EQ(texts(loopback_name_servers("nameserver 192.0.2.1\nnameserver\t::1\n")), Texts{"::1"});
  EXPECT_EQ(texts(loopback_name_servers("nameserver 127.0.0.1\r\nnameserver 127.0.0.1")),
            Texts{"127.0.0.1"});
}

TEST(LoopbackNameServers, are_none_when_all_servers_are_elsewhere) {
  EXPECT_TRUE(loopback_name_servers("nameserver 192.0.2.1\nnameserver 2001:db8::1%2\n").empty());
}

TEST(LoopbackNameServers, are_the_resolvers_own_default_when_none_is_named) {
  const Texts both{"127.0.0.1", "::1"};
  EXPECT_EQ(texts(loopback_name_servers("")), both);
  EXPECT_EQ(texts(loopback_name_servers("search example.org\n#nameserver 192.0.2.1\n")), both);
  EXPECT_EQ(texts(loopback_name_servers("nameserver nonsense\n")), both);
}

TEST(HostNetwork, is_consistent_whatever_this_host_has) {
  const HostNetwork host = look_at_host(false);
  for (const auto* family : {&host.ipv4, &host.ipv6}) {
    EXPECT_EQ(family->source.has_value(), !family->routes.empty());
    if (family->source) EXPECT_FALSE(family->source->is_loopback());
  }
  EXPECT_EQ(look_at_host(false), host);
}

TEST(HostNetwork, reaches_every_ipv4_destination_through_a_proxy) {
  const HostNetwork host = look_at_host(true);
  ASSERT_TRUE(host.ipv4.source);
  ASSERT_EQ(host.ipv4.routes.size(), 1U);
  EXPECT_EQ(host.ipv4.routes[0].prefix_length, 0);
}

}  // namespace
}  // namespace shunt
