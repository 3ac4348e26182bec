// SPDX-License-Identifier: GPL-2.0-only
// What rules do to UDP sessions.
#include <gtest/gtest.h>

#include "base/counters.h"
#include "unit/proxy/serve_udp_fixture.h"

namespace shunt {
namespace {

using namespace test;

class ServeUdpRules : public ServeUdpTest {
 protected:
  /// Of ways out called "first" and "second"; the second is `way_out`.
  std::shared_ptr<const Policy> rules(const std::vector<std::string>& texts) {
    PolicySource source;
    source.ways_out = {"first", "second"};
    source.fallback.text = "second";
    for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
    return Policy::create(Ruleset::compile(std::move(source)).value(), {first, first, way_out});
  }
  void decide_by(const std::vector<std::string>& texts) { policy.replace(rules(texts)); }

  std::shared_ptr<ToServer> first = std::make_shared<ToServer>(server.endpoint());
};
INSTANTIATE_TEST_SUITE_P(, ServeUdpRules, testing::Values(Family::ipv4, Family::ipv6), family_name);

TEST_P(ServeUdpRules, session_goes_the_way_of_its_rule) {
  decide_by({"port 1 -> first", "port 4433 proto udp -> second"});
  start();
  Peer client(Address::loopback(GetParam()));
  EXPECT_EQ(pass(client, "hello"), "hello");
  EXPECT_EQ(way_out->dials, 1);
  EXPECT_EQ(first->dials, 0);
}

TEST_P(ServeUdpRules, rejected_session_is_one_line_and_no_socket) {
  decide_by({"proto tcp -> direct", "app other -> reject"});
  const auto rejected = counted(Counter::flows_rejected);
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 30; ++i) client.send(listener, "datagram");
  EXPECT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(server.receive(50), std::nullopt);
  const auto ends = log.ends();
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].first.rule, 2U);
  EXPECT_EQ(ends[0].second.failure->reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(first->dials + way_out->dials, 0);
  EXPECT_EQ(counted(Counter::flows_rejected), rejected + 1);
}

TEST_P(ServeUdpRules, dropped_session_swallows_what_comes) {
  decide_by({"-> drop"});
  const auto dropped = counted(Counter::flows_dropped);
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 30; ++i) client.send(listener, "datagram");
  EXPECT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(server.receive(50), std::nullopt);
  EXPECT_EQ(log.ends()[0].second.failure->reason, ConnectReason::dropped_by_rule);
  EXPECT_EQ(counted(Counter::flows_dropped), dropped + 1);
}

TEST_P(ServeUdpRules, way_out_without_udp_gives_way_to_the_next) {
  first->carries = false;
  decide_by({"-> first else second"});
  start();
  Peer client(Address::loopback(GetParam()));
  EXPECT_EQ(pass(client, "hello"), "hello");
  EXPECT_EQ(first->dials, 0);
  EXPECT_EQ(way_out->dials, 1);
}

TEST_P(ServeUdpRules, way_out_that_fails_gives_way_to_the_next) {
  first->fails = true;
  decide_by({"-> first else second"});
  start();
  Peer client(Address::loopback(GetParam()));
  EXPECT_EQ(pass(client, "hello"), "hello");
  EXPECT_EQ(first->dials, 1);
}

TEST_P(ServeUdpRules, new_rules_end_the_sessions_that_they_decide_otherwise) {
  decide_by({"port 4433 -> second"});
  start();
  Peer client(Address::loopback(GetParam()));
  EXPECT_EQ(pass(client, "hello"), "hello");
  const auto same = rules({"port 9 -> reject"});
  on_loop<int>([&] { return udp->end_changed(*same), 0; });
  EXPECT_EQ(sessions(), 1U);
  const auto other = rules({"port 4433 -> reject"});
  on_loop<int>([&] { return udp->end_changed(*other), 0; });
  EXPECT_EQ(sessions(), 0U);
  ASSERT_EQ(log.ends().size(), 1U);
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::rules_changed);
}

}  // namespace
}  // namespace shunt
