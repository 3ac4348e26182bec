// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/sock_diag.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/socket.h"

namespace shunt {
namespace {

SockDiag open_diag() {
  return SockDiag(UniqueFd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)));
}

std::uint32_t inode_of(int fd) {
  struct stat status{};
  ::fstat(fd, &status);
  return static_cast<std::uint32_t>(status.st_ino);
}

UniqueFd blocking_socket(Family family, int type) {
  return UniqueFd(::socket(family == Family::ipv4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0));
}

class SockDiagOf : public testing::TestWithParam<Family> {
 protected:
  UniqueFd bound(int type) {
    UniqueFd fd = blocking_socket(GetParam(), type);
    if (!bind_to(fd.get(), {.address = Address::loopback(GetParam()), .port = 0})) fd.reset();
    return fd;
  }

  static bool connect_to(int fd, const Endpoint& endpoint) {
    const SocketAddress address(endpoint);
    return ::connect(fd, address.get(), address.size()) == 0;
  }
};

TEST_P(SockDiagOf, finds_the_client_of_a_tcp_connection) {
  const UniqueFd listener = bound(SOCK_STREAM);
  if (!listener.valid()) GTEST_SKIP() << "needs loopback addresses of both families";
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const Endpoint server = *local_endpoint(listener.get());
  const UniqueFd client = blocking_socket(GetParam(), SOCK_STREAM);
  ASSERT_TRUE(connect_to(client.get(), server));
  const auto owner = open_diag().find(Protocol::tcp, *local_endpoint(client.get()), server);
  ASSERT_TRUE(owner);
  EXPECT_EQ(owner->inode, inode_of(client.get()));
  EXPECT_EQ(owner->uid, ::getuid());
}

TEST_P(SockDiagOf, finds_the_listener_where_nobody_is_connected) {
  const UniqueFd listener = bound(SOCK_STREAM);
  if (!listener.valid()) GTEST_SKIP() << "needs loopback addresses of both families";
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const auto owner = open_diag().find(Protocol::tcp, *local_endpoint(listener.get()),
                                      {.address = Address::any(GetParam())});
  ASSERT_TRUE(owner);
  EXPECT_EQ(owner->inode, inode_of(listener.get()));
}

TEST_P(SockDiagOf, finds_a_udp_socket_connected_or_not) {
  const UniqueFd server = bound(SOCK_DGRAM);
  if (!server.valid()) GTEST_SKIP() << "needs loopback addresses of both families";
  const Endpoint there = *local_endpoint(server.get());
  const UniqueFd connected = blocking_socket(GetParam(), SOCK_DGRAM);
  ASSERT_TRUE(connect_to(connected.get(), there));
  const UniqueFd loose = bound(SOCK_DGRAM);
  auto diag = open_diag();
  for (const UniqueFd* fd : {&connected, &loose}) {
    const auto owner = diag.find(Protocol::udp, *local_endpoint(fd->get()), there);
    ASSERT_TRUE(owner);
    EXPECT_EQ(owner->inode, inode_of(fd->get()));
  }
}

TEST_P(SockDiagOf, finds_nothing_where_nothing_is) {
  const Endpoint nobody{.address = Address::loopback(GetParam()), .port = 1};
  auto diag = open_diag();
  EXPECT_FALSE(diag.find(Protocol::tcp, nobody, nobody));
  EXPECT_FALSE(diag.find(Protocol::udp, nobody, nobody));
}

INSTANTIATE_TEST_SUITE_P(BothFamilies, SockDiagOf, testing::Values(Family::ipv4, Family::ipv6),
                         [](const auto& info) { return info.param == Family::ipv4 ? "v4" : "v6"; });

}  // namespace
}  // namespace shunt
