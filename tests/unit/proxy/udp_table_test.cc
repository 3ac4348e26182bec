// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/udp_table.h"

#include <gtest/gtest.h>

#include <random>

namespace shunt {
namespace {

void never(Timer& /*timer*/) {}

// The table never looks at a session's server.
UdpServer& no_server() {
  static int nothing = 0;
  return reinterpret_cast<UdpServer&>(nothing);
}

Endpoint client(int host, int port) {
  return *Endpoint::parse("192.0.2." + std::to_string(host) + ":" + std::to_string(port));
}

const Endpoint kDestination = *Endpoint::parse("198.51.100.1:53");

std::shared_ptr<UdpSession> add(UdpTable& table, const Endpoint& source) {
  auto session = std::make_shared<UdpSession>(no_server(), &never);
  session->flow.source = source;
  session->flow.original_destination = kDestination;
  table.insert(session);
  return session;
}

TEST(UdpTable, finds_by_client_and_destination) {
  UdpTable table(8, 8);
  const auto session = add(table, client(1, 1000));
  EXPECT_EQ(table.find(client(1, 1000), kDestination, {}), session);
  EXPECT_EQ(table.find(client(1, 1001), kDestination, {}), nullptr);
  EXPECT_EQ(table.find(client(1, 1000), *Endpoint::parse("198.51.100.1:54"), {}), nullptr);
  table.remove(*session);
  EXPECT_EQ(table.find(client(1, 1000), kDestination, {}), nullptr);
  EXPECT_EQ(table.size(), 0U);
}

TEST(UdpTable, client_at_its_limit_displaces_its_own_oldest) {
  UdpTable table(100, 3);
  const auto oldest = add(table, client(1, 1));
  const auto second = add(table, client(1, 2));
  add(table, client(1, 3));
  add(table, client(2, 1));
  EXPECT_EQ(table.shares().crowded(client(1, 9).address), UdpTable::Crowded::client);
  EXPECT_EQ(table.shares().crowded(client(2, 9).address), UdpTable::Crowded::no);
  EXPECT_EQ(table.shares().victim(client(1, 9).address, UdpTable::Crowded::client), oldest);
  UdpTable::Shares::touch(*oldest);
  EXPECT_EQ(table.shares().victim(client(1, 9).address, UdpTable::Crowded::client), second);
}

TEST(UdpTable, full_table_takes_from_the_client_with_the_most) {
  UdpTable table(6, 6);
  const auto lone = add(table, client(2, 1));
  const auto greedy = add(table, client(1, 1));
  for (int port = 2; port <= 5; ++port) add(table, client(1, port));
  EXPECT_EQ(table.shares().crowded(client(3, 1).address), UdpTable::Crowded::table);
  EXPECT_EQ(table.shares().victim(client(3, 1).address, UdpTable::Crowded::table), greedy);
}

TEST(UdpTable, flood_by_one_client_never_displaces_another_one) {
  UdpTable table(64, 64);
  std::vector<std::shared_ptr<UdpSession>> modest;
  for (int i = 0; i < 8; ++i) modest.push_back(add(table, client(2, 100 + i)));
  for (int i = 0; i < 10'000; ++i) {
    const Endpoint source = client(1, 1 + i);
    if (const auto why = table.shares().crowded(source.address); why != UdpTable::Crowded::no) {
      table.remove(*table.shares().victim(source.address, why));
    }
    add(table, source);
  }
  EXPECT_EQ(table.size(), 64U);
  for (const auto& session : modest) EXPECT_NE(session->share.client, nullptr);
}

TEST(UdpTable, dials_outlive_their_session) {
  UdpTable table(8, 8);
  const auto session = add(table, client(1, 1));
  table.shares().dial_began(client(1, 1).address);
  table.remove(*session);
  EXPECT_EQ(table.shares().dials_of(client(1, 1).address), 1U);
  table.shares().dial_ended(client(1, 1).address);
  EXPECT_EQ(table.shares().dials_of(client(1, 1).address), 0U);
}

TEST(UdpTable, random_use_keeps_the_largest_client_right) {
  UdpTable table(200, 40);
  std::mt19937 random(3);
  std::vector<std::shared_ptr<UdpSession>> live;
  std::array<std::size_t, 8> held{};
  for (int step = 0; step < 20'000; ++step) {
    const int host = static_cast<int>(random() % 8);
    const Endpoint source = client(host + 1, 1 + step);
    if (random() % 3 != 0 && table.shares().crowded(source.address) == UdpTable::Crowded::no) {
      live.push_back(add(table, source));
      ++held[static_cast<std::size_t>(host)];
    } else if (!live.empty()) {
      const std::size_t at = random() % live.size();
      const int owner = std::stoi(live[at]->flow.source.address.text().substr(8)) - 1;
      table.remove(*live[at]);
      --held[static_cast<std::size_t>(owner)];
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (live.empty()) continue;
    const auto victim = table.shares().victim(source.address, UdpTable::Crowded::table);
    ASSERT_EQ(victim->share.client->items.size(), *std::max_element(held.begin(), held.end()));
  }
}

}  // namespace
}  // namespace shunt
