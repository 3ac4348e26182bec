// SPDX-License-Identifier: GPL-2.0-only
#include "capture/parking.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "net/socket.h"
#include "net/socket_state.h"

namespace shunt {
namespace {

constexpr int kSoonMs = 2000;

Endpoint endpoint(const char* text) { return Endpoint::parse(text).value_or(Endpoint{}); }

short events_of(int fd, int within_ms) {
  pollfd entry{.fd = fd, .events = POLLIN | POLLOUT, .revents = 0};
  return ::poll(&entry, 1, within_ms) > 0 ? entry.revents : 0;
}

struct Case {
  Family socket;
  const char* destination;
};

class ParkingOf : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    auto made = Parking::create();
    ASSERT_TRUE(made) << made.error().text();
    parking_ = std::make_unique<Parking>(*std::move(made));
    auto socket = make_socket(GetParam().socket, SocketType::stream);
    if (!socket) GTEST_SKIP() << "needs IPv6";
    program_ = *std::move(socket);
  }
  /// Yields the errno, or 0.
  int park() {
    const auto place =
        parking_->park(program_.get(), GetParam().socket, endpoint(GetParam().destination));
    place_ = place.value_or(Endpoint{});
    return place ? 0 : place.error();
  }

  std::unique_ptr<Parking> parking_;
  UniqueFd program_;
  Endpoint place_;
};

TEST_P(ParkingOf, a_parked_socket_says_nothing_and_keeps_its_flags) {
  const int flags = ::fcntl(program_.get(), F_GETFL) & ~O_NONBLOCK;
  ::fcntl(program_.get(), F_SETFL, flags);
  ASSERT_EQ(park(), 0);
  EXPECT_EQ(::fcntl(program_.get(), F_GETFL), flags);
  EXPECT_EQ(events_of(program_.get(), 50), 0);
  EXPECT_FALSE(is_connected(program_.get()));
}

TEST_P(ParkingOf, the_two_meet_and_talk) {
  ASSERT_EQ(park(), 0);
  const auto client = local_endpoint(program_.get());
  ASSERT_TRUE(client);
  const auto ours = Parking::meet(*client, place_);
  ASSERT_TRUE(ours) << ours.error().text();
  EXPECT_EQ(events_of(ours->get(), kSoonMs), POLLOUT);
  EXPECT_EQ(events_of(program_.get(), kSoonMs), POLLOUT);
  EXPECT_TRUE(is_connected(ours->get()) && is_connected(program_.get()));
  EXPECT_EQ(pending_error(program_.get()), 0);
  const auto peer = peer_endpoint(program_.get());
  ASSERT_TRUE(peer);
  EXPECT_EQ(*peer, place_);
  EXPECT_TRUE(parking_->is_place(*peer));
  EXPECT_EQ(::send(program_.get(), "hello", 5, 0), 5);
  EXPECT_NE(events_of(ours->get(), kSoonMs) & POLLIN, 0);
  char text[8] = "";
  EXPECT_EQ(::recv(ours->get(), text, sizeof text, 0), 5);
  EXPECT_EQ(std::string_view(text), "hello");
}

TEST_P(ParkingOf, one_event_wakes_an_edge_triggered_set_that_knew_it_before) {
  const UniqueFd set(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {}};
  ::epoll_ctl(set.get(), EPOLL_CTL_ADD, program_.get(), &event);
  ::epoll_wait(set.get(), &event, 1, 0);  // of a fresh socket: HUP and OUT
  ASSERT_EQ(park(), 0);
  EXPECT_EQ(::epoll_wait(set.get(), &event, 1, 50), 0);
  const auto client = local_endpoint(program_.get()).value_or(Endpoint{});
  const auto ours = Parking::meet(client, place_);
  ASSERT_TRUE(ours);
  ASSERT_EQ(::epoll_wait(set.get(), &event, 1, kSoonMs), 1);
  EXPECT_EQ(event.events, static_cast<std::uint32_t>(EPOLLOUT));
  EXPECT_EQ(::epoll_wait(set.get(), &event, 1, 50), 0);
}

TEST_P(ParkingOf, who_is_disconnected_is_woken_and_can_connect_anew) {
  ASSERT_EQ(park(), 0);
  ::shutdown(program_.get(), SHUT_RDWR);
  EXPECT_NE(events_of(program_.get(), kSoonMs) & (POLLHUP | POLLERR), 0);
  (void)pending_error(program_.get());
  EXPECT_EQ(park(), 0);
}

INSTANTIATE_TEST_SUITE_P(Sockets, ParkingOf,
                         testing::Values(Case{Family::ipv4, "203.0.113.1:80"},
                                         Case{Family::ipv6, "203.0.113.1:80"},
                                         Case{Family::ipv6, "[2001:db8::1]:80"}));

TEST(Parking, says_what_the_kernel_would_say_of_another_family) {
  auto parking = Parking::create();
  ASSERT_TRUE(parking) << parking.error().text();
  const auto v4 = make_socket(Family::ipv4, SocketType::stream);
  EXPECT_EQ(parking->park(v4->get(), Family::ipv4, endpoint("[2001:db8::1]:80")),
            std::unexpected(EAFNOSUPPORT));
  const auto v6 = make_socket(Family::ipv6, SocketType::stream);
  if (!v6) GTEST_SKIP() << "needs IPv6";
  ASSERT_TRUE(set_option(v6->get(), IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
  EXPECT_EQ(parking->park(v6->get(), Family::ipv6, endpoint("203.0.113.1:80")),
            std::unexpected(ENETUNREACH));
}

TEST(Parking, a_socket_that_is_bound_to_a_device_is_not_sent_out_there) {
  auto parking = Parking::create();
  ASSERT_TRUE(parking);
  const auto socket = make_socket(Family::ipv4, SocketType::stream);
  constexpr char kDevice[] = "lo";
  ASSERT_EQ(::setsockopt(socket->get(), SOL_SOCKET, SO_BINDTODEVICE, kDevice, sizeof kDevice), 0);
  EXPECT_EQ(parking->park(socket->get(), Family::ipv4, endpoint("203.0.113.1:80")),
            std::unexpected(EHOSTUNREACH));
}

TEST(Parking, sockets_with_one_local_address_get_places_of_their_own) {
  auto parking = Parking::create();
  ASSERT_TRUE(parking);
  const std::size_t first = parking->places().size();
  std::vector<UniqueFd> sockets;
  std::set<std::uint16_t> ports;
  Endpoint local{.address = Address::loopback(Family::ipv4), .port = 0};
  std::expected<Endpoint, int> place;
  for (int i = 0; i < 100; ++i) {
    auto socket = make_socket(Family::ipv4, SocketType::stream);
    ASSERT_TRUE(set_option(socket->get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
    ASSERT_TRUE(bind_to(socket->get(), local));
    local = local_endpoint(socket->get()).value_or(Endpoint{});
    place = parking->park(socket->get(), Family::ipv4, endpoint("203.0.113.1:80"));
    if (!place) break;
    EXPECT_TRUE(parking->is_place(*place));
    EXPECT_TRUE(ports.insert(place->port).second);
    sockets.push_back(*std::move(socket));
  }
  EXPECT_EQ(place, std::unexpected(EADDRNOTAVAIL));  // there is an end to it
  EXPECT_EQ(sockets.size(), 32U);
  EXPECT_EQ(parking->places().size(), first + 31);
  const auto ours =
      Parking::meet(local, Endpoint{.address = local.address, .port = *ports.begin()});
  ASSERT_TRUE(ours);
  EXPECT_EQ(events_of(ours->get(), kSoonMs), POLLOUT);
}

TEST(Parking, knows_its_network_namespace) {
  const auto parking = Parking::create();
  const auto socket = make_socket(Family::ipv4, SocketType::datagram);
  EXPECT_EQ(parking->network(), network_of(socket->get()));
}

}  // namespace
}  // namespace shunt
