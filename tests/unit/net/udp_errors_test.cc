// SPDX-License-Identifier: GPL-2.0-only
#include "net/udp_errors.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <set>

#include "net/socket.h"

namespace shunt {
namespace {

class UdpErrors : public testing::TestWithParam<Family> {
 protected:
  UdpErrors() : fd_(*make_socket(GetParam(), SocketType::datagram)) {
    EXPECT_TRUE(bind_to(fd_.get(), {Address::loopback(GetParam()), 0}));
  }
  void send(const Endpoint& to) {
    const SocketAddress address(to);
    const auto sent = [&] {
      return ::sendto(fd_.get(), "x", 1, 0, address.get(), address.size()) == 1;
    };
    // An error that is queued is told once by the next call, too, and then nothing is sent.
    EXPECT_TRUE(sent() || (errno == ECONNREFUSED && sent()));
  }
  /// A port of loopback where nobody listens any more.
  static Endpoint closed_port() {
    const UniqueFd fd = *make_socket(GetParam(), SocketType::datagram);
    EXPECT_TRUE(bind_to(fd.get(), {Address::loopback(GetParam()), 0}));
    return *local_endpoint(fd.get());
  }
  /// Waits for it.
  std::optional<UdpError> next() {
    pollfd waiting{fd_.get(), 0, 0};
    EXPECT_EQ(::poll(&waiting, 1, 5000), 1);
    return next_udp_error(fd_.get());
  }

  UniqueFd fd_;
};
INSTANTIATE_TEST_SUITE_P(, UdpErrors, testing::Values(Family::ipv4, Family::ipv6),
                         [](const auto& family) {
                           return family.param == Family::ipv4 ? "ipv4" : "ipv6";
                         });

TEST_P(UdpErrors, say_which_destination_is_closed) {
  queue_udp_errors(fd_.get(), GetParam());
  const Endpoint nobody = closed_port();
  send(nobody);
  const auto error = next();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->destination, nobody);
  EXPECT_EQ(error->os_error, ECONNREFUSED);
  EXPECT_TRUE(error->fatal);
  EXPECT_FALSE(error->local);
  EXPECT_EQ(error->mtu, 0U);
  EXPECT_FALSE(next_udp_error(fd_.get())) << "it is told once";
}

TEST_P(UdpErrors, of_several_destinations_are_told_one_by_one) {
  queue_udp_errors(fd_.get(), GetParam());
  std::set<std::uint16_t> closed;
  while (closed.size() < 3) {
    const Endpoint nobody = closed_port();
    if (closed.insert(nobody.port).second) send(nobody);
  }
  std::set<std::uint16_t> told;
  while (told.size() < 3) {
    const auto error = next();
    ASSERT_TRUE(error);
    told.insert(error->destination.port);
  }
  EXPECT_EQ(told, closed);
}

TEST_P(UdpErrors, are_not_queued_unless_asked_for) {
  send(closed_port());
  const UniqueFd peer = *make_socket(GetParam(), SocketType::datagram);
  ASSERT_TRUE(bind_to(peer.get(), {Address::loopback(GetParam()), 0}));
  send(*local_endpoint(peer.get()));
  pollfd waiting{peer.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&waiting, 1, 5000), 1) << "so the error had come before";
  EXPECT_FALSE(next_udp_error(fd_.get()));
}

TEST(UdpErrorsOf, a_socket_that_is_none_are_none) { EXPECT_FALSE(next_udp_error(-1)); }

}  // namespace
}  // namespace shunt
