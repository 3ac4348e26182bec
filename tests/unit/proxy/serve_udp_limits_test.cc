// SPDX-License-Identifier: GPL-2.0-only
// What happens at each bound of the UDP server.
#include <gtest/gtest.h>

#include "base/counters.h"
#include "base/udp_limits.h"
#include "unit/proxy/serve_udp_fixture.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;
using namespace test;

using ServeUdpLimits = ServeUdpTest;
INSTANTIATE_TEST_SUITE_P(, ServeUdpLimits, testing::Values(Family::ipv4, Family::ipv6),
                         family_name);

TEST_P(ServeUdpLimits, datagrams_wait_in_a_bounded_queue_while_it_dials) {
  way_out->dial_ms = 300;
  const auto before = counted(Counter::udp_datagrams_dropped);
  const auto full_before = counted(Counter::udp_queue_full);
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 40; ++i) client.send(listener, std::to_string(i));
  for (std::size_t i = 0; i < limits::kUdpQueuedDatagrams; ++i) {
    ASSERT_EQ(server.receive(), std::to_string(i));
  }
  EXPECT_EQ(server.receive(50), std::nullopt);
  EXPECT_EQ(counted(Counter::udp_datagrams_dropped) - before, 40 - limits::kUdpQueuedDatagrams);
  EXPECT_EQ(counted(Counter::udp_queue_full) - full_before, 40 - limits::kUdpQueuedDatagrams);
}

TEST_P(ServeUdpLimits, client_over_its_limit_displaces_its_own_oldest) {
  options.most_sessions_per_client = 4;
  start();
  std::vector<std::unique_ptr<Peer>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    ASSERT_TRUE(pass(*clients.back(), "datagram"));
  }
  EXPECT_EQ(sessions(), 4U);
  const auto ends = log.ends();
  ASSERT_EQ(ends.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(ends[i].first.source, clients[i]->endpoint());
    EXPECT_EQ(ends[i].second.reason, EndReason::evicted);
  }
}

using ServeUdpLimitsOnIpv4 = ServeUdpTest;  // IPv6 has one loopback address: no second client
INSTANTIATE_TEST_SUITE_P(, ServeUdpLimitsOnIpv4, testing::Values(Family::ipv4), family_name);

TEST_P(ServeUdpLimitsOnIpv4, full_table_spares_the_modest_client) {
  options.most_sessions = 8;
  start();
  Peer modest(*Address::parse("127.0.0.2"));
  ASSERT_TRUE(pass(modest, "mine"));
  const Endpoint upstream_of_modest = server.from;
  std::vector<std::unique_ptr<Peer>> greedy;
  for (int i = 0; i < 50; ++i) {
    greedy.push_back(std::make_unique<Peer>(*Address::parse("127.0.0.3")));
    ASSERT_TRUE(pass(*greedy.back(), "more"));
  }
  EXPECT_EQ(sessions(), 8U);
  server.send(upstream_of_modest, "still there");
  EXPECT_EQ(modest.receive(), "still there");
}

TEST_P(ServeUdpLimitsOnIpv4, one_client_leaves_room_in_the_queue_for_others) {
  way_out->dial_ms = 400;
  options.nat.timeouts.unanswered = 300;
  const auto before = counted(Counter::udp_queue_full);
  start();
  std::vector<std::unique_ptr<Peer>> greedy;
  const std::string long_one(8192, 'l');
  const auto full = [&] { return counted(Counter::udp_queue_full) > before; };
  // Fewer of each socket than a session may queue: what is hit is the client's share.
  for (int i = 0; i < 50 && !full(); ++i) {
    greedy.push_back(std::make_unique<Peer>(*Address::parse("127.0.0.3")));
    for (int k = 0; k < 8; ++k) greedy.back()->send(listener, long_one);
    (void)sessions();  // so that the loop has read some
  }
  EXPECT_TRUE(full());
  Peer modest(*Address::parse("127.0.0.2"));
  modest.send(listener, "mine");
  // Not what the server has received: the others' fill its buffer.
  std::optional<std::uint64_t> sent;
  EXPECT_TRUE(eventually([&] {
    for (const auto& [flow, end] : log.ends()) {
      if (flow.source == modest.endpoint()) sent = end.datagrams_up;
    }
    return sent.has_value();
  }));
  EXPECT_EQ(sent, 1U);
}

TEST_P(ServeUdpLimitsOnIpv4, one_client_leaves_others_their_turn_to_dial) {
  way_out->dial_ms = 400;
  const auto before = counted(Counter::udp_dials_full);
  start();
  std::vector<std::unique_ptr<Peer>> greedy;
  for (std::size_t i = 0; i < limits::kUdpDialsPerClient + 10; ++i) {
    greedy.push_back(std::make_unique<Peer>(*Address::parse("127.0.0.3")));
    greedy.back()->send(listener, "more");
  }
  EXPECT_TRUE(eventually([&] { return counted(Counter::udp_dials_full) - before == 10; }));
  EXPECT_EQ(sessions(), limits::kUdpDialsPerClient);
  Peer modest(*Address::parse("127.0.0.2"));
  modest.send(listener, "mine");
  EXPECT_TRUE(eventually([&] { return sessions() == limits::kUdpDialsPerClient + 1; }));
}

TEST_P(ServeUdpLimitsOnIpv4, what_a_client_displaces_is_counted_and_its_own) {
  options.most_sessions_per_client = 4;
  const auto before = counted(Counter::udp_client_over_cap);
  start();
  Peer modest(*Address::parse("127.0.0.2"));
  ASSERT_TRUE(pass(modest, "mine"));
  std::vector<std::unique_ptr<Peer>> greedy;
  for (int i = 0; i < 10; ++i) {
    greedy.push_back(std::make_unique<Peer>(*Address::parse("127.0.0.3")));
    ASSERT_TRUE(pass(*greedy.back(), "more"));
  }
  EXPECT_EQ(counted(Counter::udp_client_over_cap) - before, 6U);
  for (const auto& [flow, end] : log.ends()) EXPECT_NE(flow.source, modest.endpoint());
}

TEST_P(ServeUdpLimits, descriptors_short_displaces_instead_of_failing) {
  FdBudget budget(40);  // UDP may hold a quarter; one of them is the reply socket
  options.fds = &budget;
  start();
  std::vector<std::unique_ptr<Peer>> clients;
  for (int i = 0; i < 30; ++i) {
    clients.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    ASSERT_TRUE(pass(*clients.back(), "datagram"));
    server.send(server.from, "answer");
    ASSERT_TRUE(clients.back()->receive());
  }
  EXPECT_LE(sessions(), 10U);
  on_loop<int>([this] { return udp->stop(), 0; });
  ASSERT_EQ(done.wait_for(5s), std::future_status::ready);
  on_loop<int>([this] { return udp.reset(), 0; });
  EXPECT_TRUE(budget.take(40)) << "descriptors were not given back";
}

TEST_P(ServeUdpLimits, reply_sockets_are_shared_by_source_and_bounded) {
  options.most_reply_sockets = 2;
  start();
  for (int port = 1000; port < 1006; ++port) {
    set_destination(Endpoint{made_up_destination.address, static_cast<std::uint16_t>(port)});
    for (int i = 0; i < 3; ++i) {
      Peer client(Address::loopback(GetParam()));
      ASSERT_TRUE(pass(client, "question"));
      server.send(server.from, "answer");
      ASSERT_TRUE(client.receive());
    }
    EXPECT_LE(on_loop<std::size_t>([this] { return udp->bound_reply_sockets(); }), 2U);
  }
  EXPECT_EQ(replies->made, 6);
}

}  // namespace
}  // namespace shunt
