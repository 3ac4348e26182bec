// SPDX-License-Identifier: GPL-2.0-only
// Whose address a flow may bear. That a foreign one works, and how its answers come back, is for
// tests/system/test_keep_source.py: it takes a network.
#include "egress/keep_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "egress/astray_probe.h"
#include "net/socket.h"
#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;
using testing::HasSubstr;
using testing::Not;

Flow flow_from(std::string_view client, const Endpoint& destination,
               Protocol protocol = Protocol::tcp) {
  Flow flow = flow_to(destination, protocol);
  flow.source = *Endpoint::parse(client);
  return flow;
}

ConnectFailure refused(const WayOut& way_out, const Flow& flow) {
  Stage stage;
  const Hints hints;
  const auto upstream = stage.run(way_out.connect(stage.loop(), flow, hints));
  EXPECT_FALSE(upstream.has_value());
  return upstream ? ConnectFailure{} : upstream.error();
}

const Endpoint kServer = *Endpoint::parse("192.0.2.7:80");

TEST(KeepSource, refuses_a_client_that_may_not_be_spoken_for_and_says_so) {
  const auto way_out = make_keep_source({}, {.from = {*Network::parse("10.0.0.0/8")}}, "clear");
  const auto failure = refused(*way_out, flow_from("192.168.77.2:40000", kServer));
  EXPECT_EQ(failure.reason, ConnectReason::unsupported);
  EXPECT_EQ(failure.detail, "keep-source-from does not name 192.168.77.2");
}

TEST(KeepSource, refuses_what_is_no_address_to_send_from) {
  const auto way_out = make_keep_source({}, {}, "clear");
  for (const char* client : {"224.0.0.5:1", "169.254.7.7:1"}) {
    const auto failure = refused(*way_out, flow_from(client, kServer));
    EXPECT_EQ(failure.reason, ConnectReason::unsupported) << client;
    EXPECT_THAT(failure.detail, HasSubstr("no address to send from"));
  }
  // Announced without an address by a PROXY header: a client all the same, and no check of shunt's.
  Flow nobody = flow_from("0.0.0.0:1", kServer);
  nobody.announced = std::make_shared<Announcement>();
  EXPECT_THAT(refused(*way_out, nobody).detail, HasSubstr("0.0.0.0 is no address to send from"));
  const auto other_family = refused(*way_out, flow_from("[2001:db8::1]:1", kServer));
  EXPECT_EQ(other_family.reason, ConnectReason::unsupported);
}

TEST(KeepSource, refuses_a_server_that_could_not_answer) {
  const auto way_out = make_keep_source({}, {}, "clear");
  const auto failure =
      refused(*way_out, flow_from("192.168.77.2:40000", *Endpoint::parse("127.0.0.1:80")));
  EXPECT_EQ(failure.reason, ConnectReason::unsupported);
  EXPECT_THAT(failure.detail, HasSubstr("127.0.0.1 cannot answer 192.168.77.2"));
}

TEST(KeepSource, leaves_own_traffic_at_the_address_that_it_has_whoever_is_named) {
  Stage stage;
  FakePeer peer(stage, {{}});
  const auto way_out = make_keep_source(
      {.kept_mark = 7}, {.port = true, .from = {*Network::parse("10.0.0.0/8")}}, "clear");
  const Flow flow = flow_from("127.0.0.9:40000", peer.address());
  const Hints hints;
  const auto upstream = stage.run(way_out->connect(stage.loop(), flow, hints), peer.serve());
  ASSERT_TRUE(upstream.has_value()) << upstream.error().detail;
  EXPECT_EQ(local_endpoint(upstream->socket.fd())->address, *Address::parse("127.0.0.9"));
}

TEST(KeepSource, dials_as_itself_where_there_is_no_client) {
  Stage stage;
  FakePeer peer(stage, {{}});
  const auto way_out = make_keep_source({.kept_mark = 7}, {}, "clear");
  Flow check = flow_to(peer.address());
  check.source = {};
  const Hints hints;
  EXPECT_TRUE(stage.run(way_out->connect(stage.loop(), check, hints), peer.serve()).has_value());
}

TEST(AstrayText, names_both_ends_and_the_route_that_is_missing) {
  const auto text =
      astray_text("clear", *Endpoint::parse("10.2.0.9:80"), *Address::parse("10.2.0.1"),
                  *Address::parse("10.1.0.2"), "10.1.0.0/24");
  EXPECT_THAT(text, HasSubstr("way out \"clear\""));
  EXPECT_THAT(text, HasSubstr("10.2.0.9:80 answers this machine (10.2.0.1), but not 10.1.0.2"));
  EXPECT_THAT(text, HasSubstr("ip route add 10.1.0.0/24 via 10.2.0.1"));
}

TEST(AstrayText, does_not_ask_the_internet_for_a_route_to_a_private_address) {
  const auto text = astray_text("clear", kServer, *Address::parse("198.51.100.1"),
                                *Address::parse("10.1.0.2"), "10.1.0.0/24");
  EXPECT_THAT(text, HasSubstr("no way back to a private address"));
  EXPECT_THAT(text, Not(HasSubstr("ip route add")));
}

}  // namespace
}  // namespace shunt
