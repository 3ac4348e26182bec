// SPDX-License-Identifier: GPL-2.0-only
#include "capture/resolver_sockets.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/socket.h"

namespace shunt {
namespace {

TEST(ResolverSockets, OwnersAreLookedForAmongThoseThatSaidSo) {
  auto sockets = ResolverSockets::create();
  ASSERT_TRUE(sockets);
  const auto server = make_socket(Family::ipv4, SocketType::datagram);
  const auto client = make_socket(Family::ipv4, SocketType::datagram);
  ASSERT_TRUE(server && client);
  ASSERT_TRUE(bind_to(server->get(), {.address = Address::loopback(Family::ipv4), .port = 0}));
  const Endpoint remote = *local_endpoint(server->get());
  const SocketAddress to(remote);
  ASSERT_EQ(::connect(client->get(), to.get(), to.size()), 0);
  const Endpoint local = *local_endpoint(client->get());

  EXPECT_FALSE(sockets->owner(Protocol::udp, local, remote)) << "nobody has said anything";
  sockets->will_ask(1);
  EXPECT_FALSE(sockets->owner(Protocol::udp, local, remote)) << "it is not that one's";
  sockets->will_ask(::getpid());
  EXPECT_EQ(sockets->owner(Protocol::udp, local, remote), ::getpid());
  const Endpoint nobody{.address = local.address, .port = 1};
  EXPECT_FALSE(sockets->owner(Protocol::udp, nobody, remote));
}

TEST(ResolverSockets, TheOldestAreForgotten) {
  auto sockets = ResolverSockets::create();
  ASSERT_TRUE(sockets);
  const auto client = make_socket(Family::ipv4, SocketType::datagram);
  ASSERT_TRUE(client);
  ASSERT_TRUE(bind_to(client->get(), {.address = Address::loopback(Family::ipv4), .port = 0}));
  const Endpoint local = *local_endpoint(client->get());
  const Endpoint remote{.address = local.address, .port = 53};
  sockets->will_ask(::getpid());
  EXPECT_TRUE(sockets->owner(Protocol::udp, local, remote));
  for (pid_t other = 1; other <= 64; ++other) sockets->will_ask(1'000'000'000 + other);
  EXPECT_FALSE(sockets->owner(Protocol::udp, local, remote));
}

}  // namespace
}  // namespace shunt
