// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/quic_connections.h"

#include <gtest/gtest.h>

#include <string>

#include "base/counters.h"
#include "unit/sniff/quic_samples.h"

namespace shunt {
namespace {

using quic_samples::long_packet;
using quic_samples::short_packet;

const Address kClient = *Address::parse("192.0.2.1");
const Address kOther = *Address::parse("192.0.2.2");
const Endpoint kServer = *Endpoint::parse("198.51.100.1:443");

QuicConnection named(const std::string& name) {
  return {.app = {.state = FactState::known, .app = AppProtocol::quic},
          .name = {.state = FactState::known, .name = name, .source = NameSource::quic_sni},
          .alpn_offered = {"h3"}};
}

/// Eight bytes, the first of which differ most.
std::string id_of(std::size_t number) {
  std::string id(8, 'i');
  id[0] = static_cast<char>(number);
  id[1] = static_cast<char>(number >> 8);
  return id;
}

/// The name of the connection; "" where it is not known.
std::string found(QuicConnections& connections, std::string_view datagram,
                  const Endpoint& server = kServer) {
  const auto connection = connections.find(server, datagram);
  return connection ? connection->name.name : "";
}

TEST(QuicConnections, short_header_with_a_known_id_is_of_its_connection) {
  QuicConnections connections;
  connections.learn(kClient, kServer, "12345678", named("a.example"));
  connections.learn(kClient, kServer, "longer than that one", named("b.example"));
  connections.learn(kClient, kServer, "1234", named("c.example"));
  EXPECT_EQ(found(connections, short_packet("12345678")), "a.example");
  EXPECT_EQ(found(connections, short_packet("longer than that one")), "b.example");
  EXPECT_EQ(found(connections, short_packet("1234")), "c.example");
  EXPECT_EQ(found(connections, short_packet("87654321")), "");
  EXPECT_EQ(found(connections, short_packet("12345678").substr(0, 4)), "");
  EXPECT_EQ(found(connections, ""), "");
  EXPECT_EQ(connections.find(kServer, short_packet("1234"))->alpn_offered,
            std::vector<std::string>{"h3"});
}

TEST(QuicConnections, id_is_known_at_its_own_server_alone) {
  QuicConnections connections;
  connections.learn(kClient, kServer, "12345678", named("a.example"));
  EXPECT_EQ(found(connections, short_packet("12345678"), {kServer.address, 444}), "");
  EXPECT_EQ(found(connections, short_packet("12345678"), {kClient, 443}), "");
}

// Whatever has the ID of another connection as its own first one is a connection by itself.
TEST(QuicConnections, handshake_packet_goes_on_and_initial_begins) {
  QuicConnections connections;
  connections.learn(kClient, kServer, "12345678", named("a.example"));
  EXPECT_EQ(found(connections, long_packet(2, "12345678", "")), "a.example");
  for (const int type : {0, 1, 3}) {
    EXPECT_EQ(found(connections, long_packet(type, "12345678", "")), "") << type;
  }
}

TEST(QuicConnections, id_that_may_be_anything_is_not_kept) {
  QuicConnections connections;
  for (const char* id : {"", "1", "123"})
    connections.learn(kClient, kServer, id, named("a.example"));
  connections.learn(kClient, kServer, std::string(21, 'x'), named("a.example"));
  EXPECT_EQ(connections.size(), 0U);
  EXPECT_EQ(found(connections, short_packet("123")), "");
}

TEST(QuicConnections, nobody_takes_over_the_id_of_another_client) {
  QuicConnections connections;
  connections.learn(kClient, kServer, "12345678", named("a.example"));
  connections.learn(kOther, kServer, "12345678", named("b.example"));
  EXPECT_EQ(found(connections, short_packet("12345678")), "a.example");
  connections.learn(kClient, kServer, "12345678", named("c.example"));
  EXPECT_EQ(found(connections, short_packet("12345678")), "c.example");
  EXPECT_EQ(connections.size(), 1U);
}

TEST(QuicConnections, client_at_its_limit_loses_the_one_that_was_not_used_for_longest) {
  QuicConnections connections(100, 3);
  const auto before = counted(Counter::quic_ids_forgotten);
  for (std::size_t i = 0; i < 3; ++i) connections.learn(kClient, kServer, id_of(i), named("a"));
  EXPECT_EQ(found(connections, short_packet(id_of(0))), "a");
  connections.learn(kClient, kServer, id_of(3), named("a"));
  EXPECT_EQ(connections.size(), 3U);
  EXPECT_EQ(found(connections, short_packet(id_of(1))), "");
  EXPECT_EQ(found(connections, short_packet(id_of(0))), "a");
  EXPECT_EQ(counted(Counter::quic_ids_forgotten) - before, 1U);
}

TEST(QuicConnections, limits_hold_and_spare_the_modest_client) {
  QuicConnections connections;
  const auto before = counted(Counter::quic_ids_forgotten);
  connections.learn(kOther, kServer, "modest one", named("b.example"));
  for (std::size_t i = 0; i < limits::kQuicConnectionsPerClient + 10; ++i) {
    connections.learn(kClient, kServer, id_of(i), named("a.example"));
  }
  EXPECT_EQ(connections.size(), limits::kQuicConnectionsPerClient + 1);
  EXPECT_EQ(counted(Counter::quic_ids_forgotten) - before, 10U);
  const std::size_t clients = limits::kQuicConnections / limits::kQuicConnectionsPerClient;
  for (std::size_t client = 0; client < clients; ++client) {
    const Address address = *Address::parse("203.0.113." + std::to_string(client));
    const Endpoint server{address, 443};
    for (std::size_t i = 0; i < limits::kQuicConnectionsPerClient; ++i) {
      connections.learn(address, server, id_of(i), named("a.example"));
    }
  }
  EXPECT_EQ(connections.size(), limits::kQuicConnections);
  EXPECT_EQ(found(connections, short_packet("modest one")), "b.example");
}

}  // namespace
}  // namespace shunt
