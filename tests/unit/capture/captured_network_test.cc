// SPDX-License-Identifier: GPL-2.0-only
#include "capture/captured_network.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "net/socket.h"
#include "net/socket_state.h"

namespace shunt {
namespace {

const Endpoint kFar{.address = Address::parse("203.0.113.1").value_or(Address{}), .port = 80};
const Endpoint kLoopback{.address = Address::loopback(Family::ipv6), .port = 80};

TEST(CapturedNetwork, a_socket_belongs_to_one) {
  const auto socket = make_socket(Family::ipv4, SocketType::datagram);
  ASSERT_TRUE(socket);
  const std::uint64_t here = network_of(socket->get());
  if (here == 0) GTEST_SKIP() << "needs Linux 5.14";
  EXPECT_TRUE(CapturedNetwork(here, true).has(socket->get()));
  EXPECT_FALSE(CapturedNetwork(here + 1, true).has(socket->get()));
  EXPECT_TRUE(CapturedNetwork(0, true).has(socket->get()));
}

TEST(CapturedNetwork, others_are_let_go_where_nothing_of_them_can_leave_unseen) {
  EXPECT_EQ(CapturedNetwork(1, true).refusal(kLoopback), 0);
  EXPECT_EQ(CapturedNetwork(1, true).refusal(kFar), EHOSTUNREACH);
  EXPECT_EQ(CapturedNetwork(1, false).refusal(kFar), 0);
}

}  // namespace
}  // namespace shunt
