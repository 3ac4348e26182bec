// SPDX-License-Identifier: GPL-2.0-only
// What passes through the UDP server, and what does not.
#include <gtest/gtest.h>

#include "base/counters.h"
#include "unit/proxy/serve_udp_fixture.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;
using namespace test;

using ServeUdp = ServeUdpTest;
INSTANTIATE_TEST_SUITE_P(, ServeUdp, testing::Values(Family::ipv4, Family::ipv6), family_name);

TEST_P(ServeUdp, question_reaches_the_server_and_its_answer_the_client) {
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_EQ(pass(client, "question"), "question");
  server.send(server.from, "answer");
  EXPECT_EQ(client.receive(), "answer");
  EXPECT_EQ(sessions(), 1U);
  EXPECT_EQ(log.started, 1);
}

TEST_P(ServeUdp, one_session_carries_many_datagrams_and_counts_them) {
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(pass(client, std::to_string(i)), std::to_string(i));
    server.send(server.from, "re " + std::to_string(i));
    ASSERT_EQ(client.receive(), "re " + std::to_string(i));
  }
  EXPECT_EQ(way_out->dials, 1);
  on_loop<int>([this] { return udp->stop(), 0; });
  const auto ends = log.ends();
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].second.reason, EndReason::shutdown);
  EXPECT_EQ(ends[0].second.datagrams_up, 50U);
  EXPECT_EQ(ends[0].second.datagrams_down, 50U);
  EXPECT_EQ(ends[0].second.bytes_up, 90U);
  EXPECT_EQ(ends[0].second.bytes_down, 240U);
  EXPECT_EQ(ends[0].first.way_out, "to-server");
}

TEST_P(ServeUdp, empty_and_largest_datagrams_pass_both_ways) {
  start();
  Peer client(Address::loopback(GetParam()));
  for (const std::string& payload :
       {std::string(), std::string(1472, 'a'), std::string(9000, 'b'), std::string(65'507, 'c')}) {
    ASSERT_EQ(pass(client, payload), payload) << payload.size();
    server.send(server.from, payload);
    ASSERT_EQ(client.receive(), payload) << payload.size();
  }
}

TEST_P(ServeUdp, burst_arrives_in_order_and_whole) {
  start();
  Peer client(Address::loopback(GetParam()));
  std::vector<std::string> sent;
  for (int i = 0; i < 60; ++i) {  // as many as a receive buffer of the default size holds
    sent.push_back(std::string(i % 7 == 0 ? 300 : 1200, static_cast<char>('a' + i % 26)));
    client.send(listener, sent.back());
  }
  for (const auto& payload : sent) ASSERT_EQ(server.receive(), payload);
  for (const auto& payload : sent) server.send(server.from, payload);
  for (const auto& payload : sent) ASSERT_EQ(client.receive(), payload);
}

TEST_P(ServeUdp, datagrams_sent_straight_at_the_listener_go_nowhere) {
  options.own_listeners = {*Endpoint::parse("198.51.100.1:4433"),
                           *Endpoint::parse("[2001:db8::1]:4433")};
  const auto before = counted(Counter::direct_dials_refused);
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 20; ++i) client.send(listener, "hello?");
  EXPECT_TRUE(eventually([&] { return counted(Counter::direct_dials_refused) == before + 20; }));
  EXPECT_EQ(sessions(), 0U);
  EXPECT_EQ(way_out->dials, 0);
  EXPECT_EQ(client.receive(50), std::nullopt);
}

TEST_P(ServeUdp, datagrams_without_an_original_destination_go_nowhere) {
  options.original_destination = [](const msghdr&) { return std::optional<Endpoint>(); };
  const auto before = counted(Counter::udp_datagrams_dropped);
  start();
  Peer client(Address::loopback(GetParam()));
  client.send(listener, "hello?");
  EXPECT_TRUE(eventually([&] { return counted(Counter::udp_datagrams_dropped) > before; }));
  EXPECT_EQ(sessions(), 0U);
}

TEST_P(ServeUdp, our_own_upstream_coming_back_is_refused) {
  start();
  Peer client(Address::loopback(GetParam()));
  guard.opened(client.endpoint(), *destination_of({}));
  const auto before = counted(Counter::loops_refused);
  for (int i = 0; i < 10; ++i) client.send(listener, "round and round");
  EXPECT_TRUE(eventually([&] { return counted(Counter::loops_refused) == before + 10; }));
  EXPECT_EQ(way_out->dials, 0);
}

TEST_P(ServeUdp, late_answer_still_arrives_while_the_session_lives) {
  options.nat.timeouts.unanswered = 1000;
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "question"));
  std::this_thread::sleep_for(300ms);
  server.send(server.from, "late answer");
  EXPECT_EQ(client.receive(), "late answer");
}

TEST_P(ServeUdp, header_of_the_way_out_is_added_and_taken_off) {
  way_out->header = "hdr:";
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_EQ(pass(client, "question"), "hdr:question");
  server.send(server.from, "not for us");
  server.send(server.from, "hdr:answer");
  EXPECT_EQ(client.receive(), "answer");
}

}  // namespace
}  // namespace shunt
