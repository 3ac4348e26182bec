// SPDX-License-Identifier: GPL-2.0-only
// Connections of QUIC whose client has another address or port than it began with.
#include <gtest/gtest.h>

#include "base/counters.h"
#include "proxy/quic_connections.h"
#include "unit/proxy/decide_udp_fixture.h"
#include "unit/sniff/quic_samples.h"

namespace shunt {
namespace {

using namespace test;
using quic_samples::long_packet;
using quic_samples::short_packet;

constexpr const char* kId = "servers ID";

class ServeUdpQuic : public DecideUdpTest {
 protected:
  ServeUdpQuic() { options.quic = &connections; }

  /// A client begins a connection, and the server chooses its ID.
  void connect(Peer& client, const Datagrams& said, std::string_view id = kId) {
    send(client, said);
    ASSERT_EQ(server.receive(), said.first);
    ASSERT_EQ(server.receive(), said.second);
    answer(client, long_packet(2, "me", id));
  }
  void answer(Peer& client, const std::string& datagram) {
    server.send(server.from, datagram);
    ASSERT_EQ(client.receive(), datagram);
  }
  void expect_rejected(Peer& client, std::string_view datagram) {
    const std::size_t before = log.ends().size();
    client.send(listener, datagram);
    ASSERT_TRUE(eventually([&] { return log.ends().size() == before + 1; }));
    EXPECT_EQ(log.ends().back().second.failure->reason, ConnectReason::rejected_by_rule);
  }

  /// A resolver that is not trusted told the clients that the destination is that name's.
  void look_up(const std::string& name) {
    dns::Message answer;
    answer.response = true;
    answer.question = {.name = name, .type = dns::type::kA};
    answer.answers = {{.owner = name,
                       .type = dns::type::kA,
                       .ttl_s = 60,
                       .address = made_up_destination.address}};
    memory.learn(Address::loopback(GetParam()), *Address::parse("192.0.2.1"), answer);
  }

  QuicConnections connections;
  Peer first{Address::loopback(GetParam())};
  Peer moved{Address::loopback(GetParam())};
};
INSTANTIATE_TEST_SUITE_P(, ServeUdpQuic, testing::Values(Family::ipv4, Family::ipv6), family_name);

TEST_P(ServeUdpQuic, moved_client_keeps_its_name) {
  decide_by({"host good.example -> direct"}, "reject");
  start();
  connect(first, hello("Good.Example"));
  EXPECT_EQ(pass(moved, short_packet(kId)), short_packet(kId));
  answer(moved, short_packet("me"));
  ASSERT_EQ(log.hellos().size(), 2U);
  const auto [flow, said] = log.hellos()[1];
  EXPECT_EQ(flow.source, moved.endpoint());
  EXPECT_EQ(flow.host.name, "good.example");
  EXPECT_EQ(flow.host.source, NameSource::quic_sni);
  EXPECT_EQ(flow.rule, 1U);
  EXPECT_EQ(said.server_name, "good.example");
  EXPECT_EQ(said.alpn_offered, std::vector<std::string>{"h3"});
  EXPECT_TRUE(said.moved);
  EXPECT_FALSE(log.hellos()[0].second.moved);
}

TEST_P(ServeUdpQuic, moved_client_is_still_one_of_quic_without_a_name) {
  decide_by({"app quic -> direct"}, "reject");
  options.observe_content = false;
  start();
  connect(first, hello("a.example"));
  EXPECT_EQ(pass(moved, short_packet(kId)), short_packet(kId));
  EXPECT_TRUE(log.hellos().empty());
  Peer stranger(Address::loopback(GetParam()));
  expect_rejected(stranger, short_packet("unknown ID"));
}

TEST_P(ServeUdpQuic, moved_client_may_still_be_shaking_hands) {
  decide_by({"host good.example -> direct"}, "reject");
  start();
  connect(first, hello("good.example"));
  const std::string handshake = long_packet(2, kId, "me");
  EXPECT_EQ(pass(moved, handshake), handshake);
}

TEST_P(ServeUdpQuic, name_of_a_moved_client_is_verified_anew) {
  decide_by({"host a.example -> reject"});
  start();
  connect(first, hello("made-up.example"));
  const auto before = counted(Counter::name_mismatches);
  decide_by({"host made-up.example -> direct"}, "reject");
  expect_rejected(moved, short_packet(kId));
  EXPECT_EQ(counted(Counter::name_mismatches), before + 1);
}

TEST_P(ServeUdpQuic, moved_client_is_decided_by_the_rules_of_now) {
  decide_by({"host a.example -> reject"});
  start();
  connect(first, hello("good.example"));
  decide_by({"host good.example -> reject"});
  expect_rejected(moved, short_packet(kId));
  EXPECT_EQ(log.ends().back().first.host.name, "good.example");
}

// The server may have forgotten the connection, and take it for a new one.
TEST_P(ServeUdpQuic, hello_under_a_known_id_is_read) {
  decide_by({"host denied.example -> reject"});
  start();
  connect(first, hello("good.example"), "12345678");
  const Datagrams denied = hello("denied.example", "12345678");
  moved.send(listener, denied.first);
  expect_rejected(moved, denied.second);
}

TEST_P(ServeUdpQuic, only_answers_to_its_own_connection_are_learnt_from) {
  decide_by({"host denied.example -> reject"});
  start();
  send(first, hello("good.example"));
  ASSERT_TRUE(server.receive());
  ASSERT_TRUE(server.receive());
  answer(first, long_packet(3, "me", "ID of a Retry"));
  answer(first, long_packet(1, "me", "of 0-RTT"));
  answer(first, long_packet(2, "you", "of another"));
  answer(first, short_packet("me and no more"));
  EXPECT_EQ(connections.size(), 0U);
  answer(first, long_packet(0, "me", kId));
  answer(first, long_packet(2, "me", "another ID"));
  EXPECT_EQ(connections.size(), 1U);
  EXPECT_EQ(connections.find(made_up_destination, short_packet(kId))->name.name, "good.example");
}

TEST_P(ServeUdpQuic, answer_before_the_hello_is_whole_teaches_nothing_yet) {
  decide_by({"port 4433 -> direct"});
  start();
  const Datagrams datagrams = hello("good.example");
  EXPECT_EQ(pass(first, datagrams.first), datagrams.first);
  answer(first, long_packet(0, "me", kId));
  EXPECT_EQ(connections.size(), 0U);
  EXPECT_EQ(pass(first, datagrams.second), datagrams.second);
  answer(first, long_packet(0, "me", kId));
  EXPECT_EQ(connections.find(made_up_destination, short_packet(kId))->name.name, "good.example");
}

TEST_P(ServeUdpQuic, what_dns_told_a_client_stays_its_own) {
  decide_by({"host a.example -> direct"});
  start();
  look_up("asked.example");
  connect(first, hello("192.0.2.77"));  // an address is no name
  const auto known = connections.find(made_up_destination, short_packet(kId));
  ASSERT_TRUE(known);
  EXPECT_EQ(known->name.state, FactState::never);
  EXPECT_EQ(known->name.name, "");
  EXPECT_EQ(pass(moved, short_packet(kId)), short_packet(kId));
  EXPECT_EQ(log.hellos().at(1).second.server_name, "");
  EXPECT_EQ(log.hellos().at(1).first.host.name, "asked.example");
}

// An active migration: the server told the client of the new ID in secret.
TEST_P(ServeUdpQuic, migrated_client_goes_by_the_name_that_it_asked_for) {
  decide_by({"host denied.example -> reject"});
  start();
  connect(first, hello("good.example"));
  look_up("denied.example");
  expect_rejected(moved, short_packet("a newer ID"));
  EXPECT_EQ(log.ends().back().first.host.name, "denied.example");
  EXPECT_EQ(log.ends().back().first.host.source, NameSource::dns_memory);
  Peer rebound(Address::loopback(GetParam()));
  EXPECT_EQ(pass(rebound, short_packet(kId)), short_packet(kId));
}

using ServeUdpQuicOnIpv4 = ServeUdpQuic;  // IPv6 has one loopback address: no second client
INSTANTIATE_TEST_SUITE_P(, ServeUdpQuicOnIpv4, testing::Values(Family::ipv4), family_name);

TEST_P(ServeUdpQuicOnIpv4, rules_about_the_source_see_who_presents_the_id) {
  decide_by({"client 127.0.0.1 host good.example -> direct"}, "reject");
  start();
  connect(first, hello("good.example"));
  Peer thief(*Address::parse("127.0.0.2"));
  expect_rejected(thief, short_packet(kId));
  EXPECT_EQ(pass(moved, short_packet(kId)), short_packet(kId));
}

}  // namespace
}  // namespace shunt
