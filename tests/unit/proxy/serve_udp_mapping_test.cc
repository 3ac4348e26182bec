// SPDX-License-Identifier: GPL-2.0-only
// Which upstream socket a session gets, whose datagrams come in by it, and how long it lives
// (RFC 4787).
#include <gtest/gtest.h>

#include "base/counters.h"
#include "base/udp_limits.h"
#include "egress/direct.h"
#include "unit/proxy/serve_udp_fixture.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;
using namespace test;

/// Whatever peers a client sends to are sockets of the test's, on loopback.
class ServeUdpMapping : public ServeUdpTest {
 protected:
  ServeUdpMapping() { policy.replace(Policy::always(make_direct({.observer = &guard}))); }

  /// Sends through the proxy to the peer; yields from where the peer got it.
  Endpoint mapped(Peer& client, Peer& peer, std::string_view payload = "hello") {
    set_destination(peer.endpoint());
    client.send(listener, payload);
    EXPECT_EQ(peer.receive(), payload);
    return peer.from;
  }
  Peer on_loopback() { return Peer(Address::loopback(GetParam())); }
  std::size_t mappings() {
    return on_loop<std::size_t>([this] { return udp->live_mappings(); });
  }
};
INSTANTIATE_TEST_SUITE_P(, ServeUdpMapping, testing::Values(Family::ipv4, Family::ipv6),
                         family_name);

TEST_P(ServeUdpMapping, one_client_socket_looks_the_same_to_every_peer) {
  FdBudget budget(400);
  options.fds = &budget;
  start();
  Peer client = on_loopback();
  Peer another = on_loopback();
  std::vector<Endpoint> seen;
  std::vector<std::unique_ptr<Peer>> peers;  // all alive: no port comes twice
  for (int i = 0; i < 50; ++i) {
    peers.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    Peer& peer = *peers.back();
    seen.push_back(mapped(client, peer));
    peer.send(peer.from, "answer");
    EXPECT_EQ(client.receive(), "answer");
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), seen.front()), 50);
  EXPECT_EQ(sessions(), 50U);
  EXPECT_EQ(mappings(), 1U);
  EXPECT_NE(mapped(another, server), seen.front());
  EXPECT_EQ(mappings(), 2U);
  on_loop<int>([this] { return udp->stop(), 0; });
  ASSERT_EQ(done.wait_for(5s), std::future_status::ready);
  on_loop<int>([this] { return udp.reset(), 0; });
  EXPECT_TRUE(budget.take(400)) << "descriptors were not given back";
}

TEST_P(ServeUdpMapping, symmetric_looks_different_to_every_peer) {
  options.nat.mapping = NatMapping::symmetric;
  start();
  Peer client = on_loopback();
  Peer other = on_loopback();
  EXPECT_NE(mapped(client, server), mapped(client, other));
  EXPECT_EQ(mappings(), 2U);
}

using ServeUdpMappingOnIpv4 = ServeUdpMapping;  // IPv6 has one loopback address
INSTANTIATE_TEST_SUITE_P(, ServeUdpMappingOnIpv4, testing::Values(Family::ipv4), family_name);

TEST_P(ServeUdpMappingOnIpv4, address_dependent_looks_the_same_to_the_ports_of_one_address) {
  options.nat.mapping = NatMapping::address_dependent;
  start();
  Peer client = on_loopback();
  Peer neighbour = on_loopback();
  Peer elsewhere(*Address::parse("127.0.0.9"));
  const Endpoint seen = mapped(client, server);
  EXPECT_EQ(mapped(client, neighbour), seen);
  EXPECT_NE(mapped(client, elsewhere).port, seen.port);
}

TEST_P(ServeUdpMapping, a_stranger_reaches_the_client_and_is_answered_by_the_same_mapping) {
  start();
  Peer client = on_loopback();
  const Endpoint seen = mapped(client, server);
  Peer stranger = on_loopback();
  stranger.send(seen, "you do not know me");
  EXPECT_EQ(client.receive(), "you do not know me");
  EXPECT_EQ(sessions(), 2U);
  EXPECT_EQ(log.started, 2);
  EXPECT_EQ(mapped(client, stranger, "now I do"), seen);
  EXPECT_EQ(sessions(), 2U);
  EXPECT_EQ(mappings(), 1U);
}

TEST_P(ServeUdpMapping, filtering_by_endpoint_keeps_strangers_out) {
  options.nat.filtering = NatFiltering::address_and_port_dependent;
  const auto before = counted(Counter::udp_unsolicited_filtered);
  start();
  Peer client = on_loopback();
  const Endpoint seen = mapped(client, server);
  Peer stranger = on_loopback();
  stranger.send(seen, "you do not know me");
  EXPECT_TRUE(eventually([&] { return counted(Counter::udp_unsolicited_filtered) > before; }));
  server.send(seen, "but me");
  EXPECT_EQ(client.receive(), "but me");
  EXPECT_EQ(sessions(), 1U);
}

TEST_P(ServeUdpMappingOnIpv4, filtering_by_address_lets_known_hosts_in) {
  options.nat.filtering = NatFiltering::address_dependent;
  const auto before = counted(Counter::udp_unsolicited_filtered);
  start();
  Peer client = on_loopback();
  const Endpoint seen = mapped(client, server);
  Peer elsewhere(*Address::parse("127.0.0.9"));
  elsewhere.send(seen, "from nowhere");
  EXPECT_TRUE(eventually([&] { return counted(Counter::udp_unsolicited_filtered) > before; }));
  Peer neighbour = on_loopback();
  neighbour.send(seen, "from next door");
  EXPECT_EQ(client.receive(), "from next door");
}

TEST_P(ServeUdpMapping, strangers_are_bounded_and_displace_only_each_other) {
  const auto before = counted(Counter::udp_unsolicited_evicted);
  start();
  Peer client = on_loopback();
  const Endpoint seen = mapped(client, server);
  std::vector<std::unique_ptr<Peer>> strangers;  // all alive: no port comes twice
  for (std::size_t i = 0; i < limits::kUdpUnsolicited + 20; ++i) {
    strangers.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    strangers.back()->send(seen, "knock");
    ASSERT_EQ(client.receive(), "knock");
  }
  EXPECT_EQ(sessions(), limits::kUdpUnsolicited + 1);
  EXPECT_EQ(counted(Counter::udp_unsolicited_evicted) - before, 20U);
  server.send(seen, "still here");
  EXPECT_EQ(client.receive(), "still here");
}

TEST_P(ServeUdpMapping, stays_for_its_time_after_its_sessions_and_strangers_do_not_prolong_it) {
  options.nat.timeouts.unanswered = 100;
  options.nat.timeouts.answered = 100;
  options.nat.timeouts.mapping = 1000;
  start();
  Peer client = on_loopback();
  const Endpoint seen = mapped(client, server);
  ASSERT_TRUE(eventually([&] { return sessions() == 0; }));
  EXPECT_EQ(mappings(), 1U);
  EXPECT_EQ(mapped(client, server), seen);
  const auto asked = std::chrono::steady_clock::now();
  Peer stranger = on_loopback();
  while (mappings() > 0 && std::chrono::steady_clock::now() - asked < 10s) {
    stranger.send(seen, "knock");
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 5s);
}

TEST_P(ServeUdpMapping, closed_port_of_one_peer_is_told_and_disturbs_no_other) {
  start();
  Peer client = on_loopback();
  const Endpoint seen = mapped(client, server);
  auto closed = std::make_unique<Peer>(Address::loopback(GetParam()));
  const Endpoint nobody = closed->endpoint();
  closed.reset();
  set_destination(nobody);
  client.send(listener, "anybody?");
  const auto refused = [&] {
    const auto ends = log.ends();
    return ends.size() == 1 && ends[0].first.original_destination == nobody &&
           ends[0].second.failure && ends[0].second.failure->reason == ConnectReason::refused;
  };
  EXPECT_TRUE(eventually(refused));
  EXPECT_EQ(mapped(client, server), seen);
  server.send(seen, "answer");
  EXPECT_EQ(client.receive(), "answer");
}

TEST_P(ServeUdpMapping, client_over_its_limit_displaces_its_own_oldest_with_its_sessions) {
  options.most_mappings_per_client = 3;
  start();
  std::vector<std::unique_ptr<Peer>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    Peer peer = on_loopback();
    mapped(*clients.back(), peer);
    mapped(*clients.back(), server);
  }
  EXPECT_EQ(mappings(), 3U);
  EXPECT_EQ(sessions(), 6U);
  for (const auto& [flow, end] : log.ends()) {
    EXPECT_EQ(end.reason, EndReason::evicted);
    EXPECT_TRUE(flow.source == clients[0]->endpoint() || flow.source == clients[1]->endpoint());
  }
}

TEST_P(ServeUdpMapping, datagrams_of_many_peers_arrive_whole_and_each_in_order) {
  start();
  Peer client = on_loopback();
  std::vector<std::unique_ptr<Peer>> peers;
  Endpoint seen;
  for (int i = 0; i < 8; ++i) {
    peers.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    seen = mapped(client, *peers.back());
  }
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 8; ++i) {
      peers[static_cast<std::size_t>(i)]->send(
          seen, std::string(1, static_cast<char>('a' + i)) + std::to_string(round));
    }
  }
  std::vector<int> next(8, 0);
  for (int i = 0; i < 48; ++i) {
    const auto got = client.receive();
    ASSERT_TRUE(got);
    const auto peer = static_cast<std::size_t>((*got)[0] - 'a');
    EXPECT_EQ(got->substr(1), std::to_string(next[peer]++));
  }
}

TEST_P(ServeUdpMapping, what_left_by_a_mapping_and_came_back_is_known_as_a_loop) {
  start();
  Peer client = on_loopback();
  const Endpoint seen = mapped(client, server);
  EXPECT_TRUE(guard.is_own_datagram(seen));
  EXPECT_FALSE(guard.is_own_datagram(client.endpoint()));
  EXPECT_FALSE(guard.is_own(seen, server.endpoint())) << "only datagrams are told apart by ports";
  on_loop<int>([this] { return udp->stop(), 0; });
  EXPECT_TRUE(eventually([&] { return !guard.is_own_datagram(seen); }));
}

}  // namespace
}  // namespace shunt
