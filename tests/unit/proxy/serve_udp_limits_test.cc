// SPDX-License-Identifier: GPL-2.0-only
// What happens at each bound of the UDP server.
#include <gtest/gtest.h>

#include "base/counters.h"
#include "base/udp_limits.h"
#include "egress/direct.h"
#include "unit/proxy/serve_udp_fixture.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;
using namespace test;

class ServeUdpLimits : public ServeUdpTest {
 protected:
  /// A socket of the client 127.0.0.`host`, which lives as long as the test.
  Peer& client_at(int host) {
    clients_.push_back(std::make_unique<Peer>(*Address::parse("127.0.0." + std::to_string(host))));
    return *clients_.back();
  }
  /// So that no receive buffer overflows: what was sent before has been read when this returns.
  void let_it_read() { (void)sessions(); }
  void end_dials() {
    loop.loop().post([this] { loop.loop().cancel_all(); });
    EXPECT_EQ(done.wait_for(10s), std::future_status::ready);
  }

 private:
  std::vector<std::unique_ptr<Peer>> clients_;
};
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

using ServeUdpLimitsOnIpv4 = ServeUdpLimits;  // IPv6 has one loopback address: no second client
INSTANTIATE_TEST_SUITE_P(, ServeUdpLimitsOnIpv4, testing::Values(Family::ipv4), family_name);

TEST_P(ServeUdpLimitsOnIpv4, full_table_spares_the_modest_client) {
  options.most_sessions = 8;
  const auto before = counted(Counter::udp_sessions_evicted);
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
  EXPECT_EQ(counted(Counter::udp_sessions_evicted) - before, 43U);
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
  const auto before = counted(Counter::udp_replies_evicted);
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
  EXPECT_EQ(counted(Counter::udp_replies_evicted) - before, 4U);
}

// Where there is no raw socket every reply comes from a bound one, which is not used for longer
// than trains come: a daemon may want the port.
TEST_P(ServeUdpLimits, reply_socket_gives_its_port_back_when_no_more_is_sent_from_it) {
  options.reply_idle_ms = 200;
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "question"));
  server.send(server.from, "answer");
  ASSERT_TRUE(client.receive());
  EXPECT_EQ(replies->made, 1);
  EXPECT_TRUE(eventually(
      [this] { return on_loop<std::size_t>([this] { return udp->bound_reply_sockets(); }) == 0; }));
}

// At the very bounds of base/udp_limits.h.

TEST_P(ServeUdpLimitsOnIpv4, dials_of_all_clients_together_are_bounded) {
  way_out->dial_ms = 60'000;
  constexpr int kClients = 5;
  constexpr std::size_t kOfEach = limits::kUdpDials / kClients + 5;
  static_assert(kOfEach <= limits::kUdpDialsPerClient);
  const auto before = counted(Counter::udp_dials_full);
  start();
  for (int host = 2; host < 2 + kClients; ++host) {
    for (std::size_t i = 0; i < kOfEach; ++i) client_at(host).send(listener, "datagram");
    let_it_read();
  }
  EXPECT_TRUE(eventually([&] {
    return counted(Counter::udp_dials_full) - before == kClients * kOfEach - limits::kUdpDials;
  }));
  EXPECT_EQ(sessions(), limits::kUdpDials);
  EXPECT_EQ(way_out->dials, static_cast<int>(limits::kUdpDials));
  end_dials();
}

/// `sockets` send `datagrams` each, of 8 KiB.
void send_long(std::vector<Peer*> sockets, int datagrams, const Endpoint& to,
               const std::function<void()>& after_each) {
  const std::string long_one(8192, 'l');
  for (Peer* socket : sockets) {
    for (int i = 0; i < datagrams; ++i) {
      socket->send(to, long_one);
      after_each();
    }
  }
}

TEST_P(ServeUdpLimitsOnIpv4, bytes_of_one_client_that_wait_are_bounded) {
  way_out->dial_ms = 60'000;
  const auto before = counted(Counter::udp_queue_full);
  start();
  send_long({&client_at(2), &client_at(2), &client_at(2), &client_at(2)}, 10, listener,
            [this] { let_it_read(); });
  constexpr std::size_t kFit = limits::kUdpQueuedBytesPerClient / 8192;
  EXPECT_TRUE(eventually([&] { return counted(Counter::udp_queue_full) - before == 40 - kFit; }));
  end_dials();
}

TEST_P(ServeUdpLimitsOnIpv4, bytes_of_all_clients_that_wait_are_bounded) {
  way_out->dial_ms = 60'000;
  const auto before = counted(Counter::udp_queue_full);
  start();
  static_assert(30 * 8192 < limits::kUdpQueuedBytesPerClient);
  for (int host = 2; host < 7; ++host) {
    send_long({&client_at(host), &client_at(host), &client_at(host)}, 10, listener,
              [this] { let_it_read(); });
  }
  constexpr std::size_t kFit = limits::kUdpQueuedBytes / 8192;
  EXPECT_TRUE(eventually([&] { return counted(Counter::udp_queue_full) - before == 150 - kFit; }));
  end_dials();
}

/// Each datagram goes to an address of its own, where the server listens too.
std::optional<Endpoint> next_address(const msghdr& /*message*/) {
  static std::atomic<std::uint32_t> next = 0;
  const std::uint32_t number = next++;
  const std::string text =
      "127.1." + std::to_string(number / 250 % 250) + "." + std::to_string(number % 250 + 1);
  return Endpoint{*Address::parse(text), made_up_destination.port};
}

/// By one mapping for each client socket, to any number of destinations.
class ServeUdpManySessions : public ServeUdpLimits {
 protected:
  ServeUdpManySessions() {
    policy.replace(Policy::always(make_direct({.observer = &guard})));
    options.original_destination = next_address;
    set_destination(Endpoint{everywhere.endpoint().address, everywhere.endpoint().port});
  }
  void send_many(int host, std::size_t datagrams) {
    Peer& client = client_at(host);
    for (std::size_t i = 0; i < datagrams; ++i) {
      client.send(listener, "datagram");
      if (i % 32 == 31) let_it_read();
    }
    let_it_read();
  }
  Peer everywhere{*Address::parse("0.0.0.0")};
};
INSTANTIATE_TEST_SUITE_P(, ServeUdpManySessions, testing::Values(Family::ipv4), family_name);

TEST_P(ServeUdpManySessions, one_client_has_no_more_than_its_limit) {
  const auto before = counted(Counter::udp_client_over_cap);
  start();
  send_many(2, limits::kUdpSessionsPerClient + 50);
  EXPECT_EQ(sessions(), limits::kUdpSessionsPerClient);
  EXPECT_EQ(counted(Counter::udp_client_over_cap) - before, 50U);
}

TEST_P(ServeUdpManySessions, all_clients_together_have_no_more_than_the_limit) {
  constexpr int kClients = 5;
  constexpr std::size_t kOfEach = limits::kUdpSessions / kClients + 20;
  static_assert(kOfEach < limits::kUdpSessionsPerClient);
  const auto before = counted(Counter::udp_sessions_evicted);
  start();
  for (int host = 2; host < 2 + kClients; ++host) send_many(host, kOfEach);
  EXPECT_EQ(sessions(), limits::kUdpSessions);
  EXPECT_EQ(counted(Counter::udp_sessions_evicted) - before,
            kClients * kOfEach - limits::kUdpSessions);
  EXPECT_EQ(on_loop<std::size_t>([this] { return udp->live_mappings(); }), 5U);
}

TEST_P(ServeUdpManySessions, all_mappings_together_are_bounded_and_spare_the_modest_client) {
  options.most_mappings = 6;
  const auto before = counted(Counter::udp_mappings_evicted);
  start();
  send_many(2, 1);
  for (int i = 0; i < 20; ++i) send_many(3, 1);
  EXPECT_EQ(on_loop<std::size_t>([this] { return udp->live_mappings(); }), 6U);
  EXPECT_EQ(counted(Counter::udp_mappings_evicted) - before, 15U);
  for (const auto& [flow, end] : log.ends()) {
    EXPECT_EQ(flow.source.address, *Address::parse("127.0.0.3"));
  }
}

}  // namespace
}  // namespace shunt
