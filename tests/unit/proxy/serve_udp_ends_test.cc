// SPDX-License-Identifier: GPL-2.0-only
// How UDP sessions end, and what is said of it.
#include <dirent.h>
#include <gtest/gtest.h>

#include "unit/proxy/serve_udp_fixture.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;
using namespace test;

int open_descriptors() {
  DIR* directory = ::opendir("/proc/self/fd");
  int count = 0;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

using ServeUdpEnds = ServeUdpTest;
INSTANTIATE_TEST_SUITE_P(, ServeUdpEnds, testing::Values(Family::ipv4, Family::ipv6), family_name);

TEST_P(ServeUdpEnds, way_out_that_cannot_carry_udp_refuses_once_for_each_session) {
  way_out->carries = false;
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 30; ++i) client.send(listener, "datagram");
  EXPECT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(server.receive(50), std::nullopt);
  EXPECT_EQ(way_out->dials, 0);
  const auto ends = log.ends();
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].second.reason, EndReason::refused);
  EXPECT_EQ(ends[0].second.failure->reason, ConnectReason::unsupported);
}

TEST_P(ServeUdpEnds, failed_dial_is_logged_once_and_tried_again_later) {
  way_out->fails = true;
  options.refused_timeout_ms = 100;
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 10; ++i) client.send(listener, "datagram");
  EXPECT_TRUE(eventually([&] { return log.ends().size() == 1 && sessions() == 0; }));
  EXPECT_EQ(way_out->dials, 1);
  EXPECT_EQ(log.ends()[0].second.failure->reason, ConnectReason::denied);
  client.send(listener, "datagram");
  EXPECT_TRUE(eventually([&] { return way_out->dials == 2; }));
}

TEST_P(ServeUdpEnds, upstream_port_without_a_server_ends_the_session_as_refused) {
  start();
  Peer client(Address::loopback(GetParam()));
  server.close();
  client.send(listener, "anybody there?");
  ASSERT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::refused);
  EXPECT_EQ(log.ends()[0].second.failure->reason, ConnectReason::refused);
}

TEST_P(ServeUdpEnds, silent_session_ends_as_idle) {
  options.nat.timeouts.unanswered = 100;
  options.nat.timeouts.answered = 60'000;
  start();
  Peer client(Address::loopback(GetParam()));
  Peer other(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "question"));
  server.send(server.from, "answer");  // this one now lives longer
  ASSERT_TRUE(client.receive());
  ASSERT_TRUE(pass(other, "unanswered"));
  EXPECT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(log.ends()[0].first.source, other.endpoint());
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::idle);
  EXPECT_EQ(sessions(), 1U);
}

TEST_P(ServeUdpEnds, quic_has_a_time_of_its_own) {
  options.nat.timeouts.quic = 100;
  start();
  Peer browser(Address::loopback(GetParam()));
  Peer other(Address::loopback(GetParam()));
  std::string initial = "\xc3";  // a long header, version 1
  initial.append("\0\0\0\1", 4).append(1195, '\0');
  for (Peer* client : {&browser, &other}) {
    ASSERT_TRUE(pass(*client, client == &browser ? initial : "a game"));
    server.send(server.from, "answer");
    ASSERT_TRUE(client->receive());
  }
  EXPECT_TRUE(eventually([&] { return sessions() == 1; }));
  EXPECT_EQ(log.ends()[0].first.source, browser.endpoint());
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::idle);
}

TEST_P(ServeUdpEnds, answered_dns_query_ends_soon_and_as_closed) {
  set_destination(Endpoint{made_up_destination.address, 53});
  options.nat.timeouts.query = 100;
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "query"));
  server.send(server.from, "answer");
  ASSERT_TRUE(client.receive());
  EXPECT_TRUE(eventually([&] { return sessions() == 0; }));
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::closed);
}

TEST_P(ServeUdpEnds, stop_while_dialling_ends_when_the_loop_is_cancelled) {
  way_out->dial_ms = 60'000;
  start();
  Peer client(Address::loopback(GetParam()));
  client.send(listener, "datagram");
  ASSERT_TRUE(eventually([&] { return way_out->dials == 1; }));
  on_loop<int>([this] { return udp->stop(), 0; });
  EXPECT_EQ(sessions(), 0U);
  loop.loop().post([this] { loop.loop().cancel_all(); });
  EXPECT_EQ(done.wait_for(5s), std::future_status::ready);
  ASSERT_EQ(log.ends().size(), 1U);
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::shutdown);
}

TEST_P(ServeUdpEnds, cancelled_loop_ends_every_session_as_shutdown) {
  start();
  std::vector<std::unique_ptr<Peer>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    ASSERT_TRUE(pass(*clients.back(), "datagram"));
  }
  loop.loop().post([this] { loop.loop().cancel_all(); });
  ASSERT_EQ(done.wait_for(5s), std::future_status::ready);
  ASSERT_EQ(log.ends().size(), 20U);
  for (const auto& [flow, end] : log.ends()) EXPECT_EQ(end.reason, EndReason::shutdown);
}

TEST_P(ServeUdpEnds, drain_waits_for_the_answer_under_way_and_for_nothing_else) {
  start();
  Peer answered(Address::loopback(GetParam()));
  Peer waiting(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(answered, "question"));
  server.send(server.from, "answer");
  ASSERT_TRUE(answered.receive());
  ASSERT_TRUE(pass(waiting, "question"));
  on_loop<int>([this] { return udp->drain(), 0; });
  EXPECT_EQ(sessions(), 1U);
  server.send(server.from, "late answer");
  EXPECT_EQ(waiting.receive(), "late answer");
  EXPECT_EQ(done.wait_for(10s), std::future_status::ready);
}

TEST_P(ServeUdpEnds, association_ends_with_its_control_connection) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
  UniqueFd ours(pair[0]);
  UniqueFd proxys(pair[1]);
  way_out->control = &ours;
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "question"));
  proxys.reset();
  ASSERT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::upstream_reset);
}

TEST_P(ServeUdpEnds, ended_sessions_leave_no_descriptor) {
  options.nat.timeouts.unanswered = 100;
  start();
  Peer first(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(first, "datagram"));
  ASSERT_TRUE(eventually([&] { return sessions() == 0; }));
  const int before = open_descriptors();
  for (int i = 0; i < 200; ++i) {
    Peer client(Address::loopback(GetParam()));
    ASSERT_TRUE(pass(client, "datagram"));
  }
  ASSERT_TRUE(eventually([&] { return sessions() == 0; }));
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace shunt
