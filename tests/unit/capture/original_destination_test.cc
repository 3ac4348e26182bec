// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "capture/capture.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr int kDeadlineMs = 10'000;

struct Pair {
  UniqueFd client;
  UniqueFd accepted;
  Endpoint listener;
};

bool wait_for(int fd, short events) {
  pollfd poll_fd{.fd = fd, .events = events, .revents = 0};
  return ::poll(&poll_fd, 1, kDeadlineMs) == 1;
}

Pair connect_over_loopback(Family family) {
  auto listener = make_socket(family, SocketType::stream);
  EXPECT_TRUE(bind_to(listener->get(), Endpoint{Address::loopback(family), 0}));
  EXPECT_EQ(::listen(listener->get(), 1), 0);
  Pair pair{.client = {}, .accepted = {}, .listener = *local_endpoint(listener->get())};
  pair.client = std::move(*make_socket(family, SocketType::stream));
  const SocketAddress to(pair.listener);
  (void)::connect(pair.client.get(), to.get(), to.size());
  EXPECT_TRUE(wait_for(listener->get(), POLLIN));
  pair.accepted = UniqueFd(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
  return pair;
}

class OriginalDestination : public testing::TestWithParam<Family> {};

TEST_P(OriginalDestination, of_a_transparent_socket_is_its_own_address) {
  const auto pair = connect_over_loopback(GetParam());
  const auto destination = original_destination(pair.accepted.get(), CaptureMethod::tproxy);
  ASSERT_TRUE(destination);
  EXPECT_EQ(*destination, pair.listener);
}

TEST_P(OriginalDestination, of_an_untranslated_connection_is_an_error_or_the_listener_itself) {
  // ENOENT or ENOPROTOOPT without connection tracking; with it the listener's own address.
  const auto pair = connect_over_loopback(GetParam());
  const auto destination = original_destination(pair.accepted.get(), CaptureMethod::redirect);
  if (destination) {
    EXPECT_EQ(*destination, pair.listener);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, OriginalDestination,
                         testing::Values(Family::ipv4, Family::ipv6));

/// A message as recvmsg() leaves it, with one control header of the given content.
class Message {
 public:
  template <class T>
  Message(int level, int type, const T& content) {
    message_.msg_control = buffer_.data();
    message_.msg_controllen = CMSG_SPACE(sizeof content);
    cmsghdr* header = CMSG_FIRSTHDR(&message_);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(sizeof content);
    std::memcpy(CMSG_DATA(header), &content, sizeof content);
  }
  const msghdr& get() const { return message_; }

 private:
  alignas(cmsghdr) std::array<char, 256> buffer_{};
  msghdr message_{};
};

template <class T>
T address_of(const char* text) {
  const SocketAddress address(*Endpoint::parse(text));
  T out{};
  std::memcpy(&out, address.get(), sizeof out);
  return out;
}

TEST(DatagramDestination, is_read_from_either_family) {
  const Message v4(SOL_IP, IP_ORIGDSTADDR, address_of<sockaddr_in>("192.0.2.53:53"));
  EXPECT_EQ(datagram_destination(v4.get()), Endpoint::parse("192.0.2.53:53"));
  const Message v6(SOL_IPV6, IPV6_ORIGDSTADDR, address_of<sockaddr_in6>("[2001:db8::53]:53"));
  EXPECT_EQ(datagram_destination(v6.get()), Endpoint::parse("[2001:db8::53]:53"));
}

TEST(DatagramDestination, is_absent_without_its_control_message) {
  const Message other(SOL_SOCKET, SO_TIMESTAMP, 1);
  EXPECT_FALSE(datagram_destination(other.get()));
  EXPECT_FALSE(datagram_destination(msghdr{}));
}

TEST(DatagramDestination, ignores_a_control_message_that_is_too_short) {
  const Message cut(SOL_IP, IP_ORIGDSTADDR, std::array<char, 4>{});
  EXPECT_FALSE(datagram_destination(cut.get()));
}

TEST(AcceptedClient, refused_gets_a_reset) {
  auto pair = connect_over_loopback(Family::ipv4);
  ASSERT_TRUE(wait_for(pair.client.get(), POLLOUT));
  accepted_client(std::move(pair.accepted))->refuse(ConnectFailure{});
  ASSERT_TRUE(wait_for(pair.client.get(), POLLIN));
  EXPECT_EQ(pending_error(pair.client.get()), ECONNRESET);
}

}  // namespace
}  // namespace shunt
