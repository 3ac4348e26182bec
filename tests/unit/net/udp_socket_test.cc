// SPDX-License-Identifier: GPL-2.0-only
#include "net/udp_socket.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>

#include <random>
#include <string>

#include "net/socket.h"

namespace shunt {
namespace {

struct Pair {
  UniqueFd sender;  // connected to receiver
  UniqueFd receiver;
};

Pair make_pair(Family family) {
  Pair pair;
  pair.receiver = *make_socket(family, SocketType::datagram);
  pair.sender = *make_socket(family, SocketType::datagram);
  EXPECT_TRUE(bind_to(pair.receiver.get(), Endpoint{Address::loopback(family), 0}));
  const SocketAddress to(*local_endpoint(pair.receiver.get()));
  EXPECT_EQ(::connect(pair.sender.get(), to.get(), to.size()), 0);
  (void)set_option(pair.receiver.get(), SOL_SOCKET, SO_RCVBUF, 4 << 20, "SO_RCVBUF");
  return pair;
}

/// What arrives until `count` datagrams have, or nothing came for two seconds.
std::vector<std::string> receive_all(ReceiveBatch& batch, int fd, std::size_t count) {
  std::vector<std::string> got;
  while (got.size() < count) {
    pollfd waiting{fd, POLLIN, 0};
    if (::poll(&waiting, 1, 2000) != 1) break;
    const int messages = batch.receive(fd);
    if (messages < 0) break;
    std::vector<Datagram> datagrams;
    for (int i = 0; i < messages; ++i) split(batch[static_cast<std::size_t>(i)], datagrams);
    for (const Datagram& datagram : datagrams) got.emplace_back(datagram.payload);
  }
  return got;
}

std::vector<Datagram> views(const std::vector<std::string>& payloads, std::uint8_t tos = 0) {
  std::vector<Datagram> datagrams;
  for (const auto& payload : payloads) datagrams.push_back({payload, tos});
  return datagrams;
}

class UdpSocket : public testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(, UdpSocket, testing::Values(Family::ipv4, Family::ipv6),
                         [](const auto& family) {
                           return family.param == Family::ipv4 ? "ipv4" : "ipv6";
                         });

TEST_P(UdpSocket, datagrams_keep_their_bounds_and_order_whether_sent_as_trains_or_not) {
  auto pair = make_pair(GetParam());
  auto batch = *ReceiveBatch::create();
  DatagramSender sender;
  std::mt19937 random(7);
  for (const bool trains : {false, true}) {
    for (const bool receive_trains : {false, true}) {
      if (receive_trains) tune_udp_receive(pair.receiver.get(), GetParam(), true);
      for (int round = 0; round < 40; ++round) {
        std::vector<std::string> payloads;
        const std::size_t run = 100 + random() % 1300;
        for (int i = 0; i < 60; ++i) {
          const std::size_t size = random() % 4 != 0 ? run : random() % 1400;
          payloads.push_back(std::string(size, static_cast<char>('a' + i % 26)));
        }
        bool use_trains = trains;
        SendTarget target{.fd = pair.sender.get(),
                          .family = GetParam(),
                          .to = nullptr,
                          .header = {},
                          .trains = &use_trains};
        const auto outcome = sender.send(target, views(payloads));
        ASSERT_EQ(outcome.datagrams, payloads.size()) << outcome.error;
        ASSERT_EQ(receive_all(*batch, pair.receiver.get(), payloads.size()), payloads);
      }
    }
  }
}

TEST_P(UdpSocket, header_goes_before_each_datagram_of_a_train) {
  auto pair = make_pair(GetParam());
  auto batch = *ReceiveBatch::create();
  DatagramSender sender;
  bool trains = true;
  SendTarget target{.fd = pair.sender.get(),
                    .family = GetParam(),
                    .to = nullptr,
                    .header = "head:",
                    .trains = &trains};
  const std::string one(1000, 'x');
  EXPECT_EQ(sender.send(target, views({one, one, "tail"})).datagrams, 3U);
  EXPECT_EQ(receive_all(*batch, pair.receiver.get(), 3),
            (std::vector<std::string>{"head:" + one, "head:" + one, "head:tail"}));
}

TEST_P(UdpSocket, empty_and_largest_datagrams_pass) {
  auto pair = make_pair(GetParam());
  auto batch = *ReceiveBatch::create();
  tune_udp_receive(pair.receiver.get(), GetParam(), true);
  DatagramSender sender;
  bool trains = true;
  SendTarget target{.fd = pair.sender.get(),
                    .family = GetParam(),
                    .to = nullptr,
                    .header = {},
                    .trains = &trains};
  const std::vector<std::string> payloads = {"", std::string(65'507, 'L'), "", "x", ""};
  EXPECT_EQ(sender.send(target, views(payloads)).datagrams, payloads.size());
  EXPECT_EQ(receive_all(*batch, pair.receiver.get(), payloads.size()), payloads);
}

TEST_P(UdpSocket, tos_is_received_and_sent) {
  auto pair = make_pair(GetParam());
  auto batch = *ReceiveBatch::create();
  tune_udp_receive(pair.receiver.get(), GetParam(), true);
  DatagramSender sender;
  SendTarget target{.fd = pair.sender.get(),
                    .family = GetParam(),
                    .to = nullptr,
                    .header = {},
                    .trains = nullptr};
  EXPECT_EQ(sender.send(target, views({"ecn"}, 0x02)).datagrams, 1U);
  pollfd waiting{pair.receiver.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&waiting, 1, 2000), 1);
  ASSERT_EQ(batch->receive(pair.receiver.get()), 1);
  EXPECT_EQ((*batch)[0].tos, 0x02);
  EXPECT_EQ(batch->source(0), *local_endpoint(pair.sender.get()));
}

TEST_P(UdpSocket, refusal_by_the_peer_is_reported_and_the_rest_is_sent) {
  auto pair = make_pair(GetParam());
  DatagramSender sender;
  SendTarget target{.fd = pair.sender.get(),
                    .family = GetParam(),
                    .to = nullptr,
                    .header = {},
                    .trains = nullptr};
  pair.receiver.reset();
  EXPECT_EQ(sender.send(target, views({"first"})).error, 0);
  pollfd waiting{pair.sender.get(), POLLERR, 0};
  ASSERT_EQ(::poll(&waiting, 1, 2000), 1);
  const auto outcome = sender.send(target, views({"second"}));
  EXPECT_EQ(outcome.error, ECONNREFUSED);
  EXPECT_EQ(outcome.datagrams, 1U);
}

TEST(UdpSocketOnIpv4, datagram_longer_than_udp_allows_is_skipped_and_the_next_is_sent) {
  auto pair = make_pair(Family::ipv4);
  auto batch = *ReceiveBatch::create();
  DatagramSender sender;
  SendTarget target{.fd = pair.sender.get(),
                    .family = Family::ipv4,
                    .to = nullptr,
                    .header = {},
                    .trains = nullptr};
  const auto outcome = sender.send(target, views({std::string(65'520, 'L'), "next"}));
  EXPECT_EQ(outcome.datagrams, 1U);
  EXPECT_EQ(outcome.error, EMSGSIZE);
  EXPECT_EQ(receive_all(*batch, pair.receiver.get(), 1), std::vector<std::string>{"next"});
}

TEST(UdpSocketOnIpv4, path_mtu_of_a_connected_socket_is_its_routes) {
  auto pair = make_pair(Family::ipv4);
  EXPECT_GE(path_mtu(pair.sender.get(), Family::ipv4), 1500U);
}

}  // namespace
}  // namespace shunt
