// SPDX-License-Identifier: GPL-2.0-only
#include "net/socket.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "unit/support/tcp_pair.h"

namespace shunt {
namespace {

bool can_accept(const UniqueFd& listener, int wait_ms) {
  pollfd poll{.fd = listener.get(), .events = POLLIN, .revents = 0};
  return ::poll(&poll, 1, wait_ms) == 1;
}

class HandshakeOn : public ::testing::TestWithParam<Family> {
 protected:
  /// connect() has succeeded by then.
  UniqueFd connected(bool with_data) {
    UniqueFd fd = std::move(make_socket(GetParam(), SocketType::stream)).value();
    if (with_data) acknowledge_with_data(fd.get());
    const SocketAddress address(local_endpoint(listener_.get()).value());
    (void)::connect(fd.get(), address.get(), address.size());
    EXPECT_TRUE(test::wait_for(fd.get(), POLLOUT));
    EXPECT_EQ(pending_error(fd.get()), 0);
    return fd;
  }

  UniqueFd listener_ = test::listen_on_loopback(GetParam());
};

TEST_P(HandshakeOn, is_over_for_the_server_at_once) {
  const UniqueFd client = connected(false);
  EXPECT_TRUE(can_accept(listener_, test::kDeadlineMs));
}

TEST_P(HandshakeOn, is_over_for_the_server_with_the_first_data_where_the_ack_waits_for_them) {
  const UniqueFd client = connected(true);
  EXPECT_FALSE(can_accept(listener_, 20));  // the kernel waits for ten times as long
  ASSERT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_TRUE(can_accept(listener_, test::kDeadlineMs));
}

INSTANTIATE_TEST_SUITE_P(Families, HandshakeOn, ::testing::Values(Family::ipv4, Family::ipv6));

}  // namespace
}  // namespace shunt
