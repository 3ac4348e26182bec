// SPDX-License-Identifier: GPL-2.0-only
// Flow::dial_by: no way out dials for longer than whoever asked it waits.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "egress/group.h"
#include "egress/http_connect.h"
#include "egress/socks4.h"
#include "egress/socks5.h"
#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

using MakeProxy = std::shared_ptr<const WayOut> (*)(std::shared_ptr<const ProxyServer>);

std::shared_ptr<const WayOut> socks5(std::shared_ptr<const ProxyServer> server) {
  return make_socks5(std::move(server), false);
}
std::shared_ptr<const WayOut> http(std::shared_ptr<const ProxyServer> server) {
  return make_http_connect(std::move(server), false);
}

Flow soon(Protocol protocol = Protocol::tcp) {
  Flow flow = flow_to(*Endpoint::parse("198.51.100.7:53"), protocol);
  flow.dial_by = Clock::now() + std::chrono::milliseconds(200);
  return flow;
}

class SilentProxy : public testing::TestWithParam<MakeProxy> {};
INSTANTIATE_TEST_SUITE_P(, SilentProxy, testing::Values(&socks5, &http, &make_socks4a));

TEST_P(SilentProxy, is_given_up_by_then) {
  Stage stage;
  FakePeer peer(stage, {{stall()}});
  const auto out = GetParam()(std::make_shared<ProxyServer>("proxy", std::vector{peer.address()},
                                                            std::nullopt, UpstreamOptions{}));
  const Flow flow = soon();
  const Hints hints;
  const auto begun = Clock::now();
  const auto upstream = stage.run(out->connect(stage.loop(), flow, hints), peer.serve());
  ASSERT_FALSE(upstream.has_value());
  EXPECT_LT(Clock::now() - begun, std::chrono::milliseconds(kPatienceMs));
}

TEST(DialBy, socks5_associates_no_longer_either) {
  Stage stage;
  FakePeer peer(stage, {{stall()}});
  const auto out = socks5(std::make_shared<ProxyServer>("proxy", std::vector{peer.address()},
                                                        std::nullopt, UpstreamOptions{}));
  const Flow flow = soon(Protocol::udp);
  const auto begun = Clock::now();
  const auto upstream = stage.run(out->associate(stage.loop(), flow), peer.serve());
  ASSERT_FALSE(upstream.has_value());
  EXPECT_LT(Clock::now() - begun, std::chrono::milliseconds(kPatienceMs));
}

TEST(DialBy, a_member_that_there_was_no_time_for_is_not_blamed) {
  Stage stage;
  FakePeer silent(stage, {{stall()}, {stall()}, {stall()}});
  FakePeer other(stage, {});
  const auto proxy = [](const FakePeer& peer) {
    return socks5(std::make_shared<ProxyServer>("proxy", std::vector{peer.address()}, std::nullopt,
                                                UpstreamOptions{}));
  };
  const auto group =
      Group::create("eu", GroupKind::failover, {{"paris", proxy(silent)}, {"rome", proxy(other)}});
  const Hints hints;
  Flow flow = soon();
  EXPECT_FALSE(stage.run(group->connect(stage.loop(), flow, hints), nothing()).has_value());
  EXPECT_EQ(group->status()[0].failures_in_a_row, 1U);
  EXPECT_EQ(group->status()[1].failures_in_a_row, 0U);
}

TEST(DialBy, leaves_what_is_shorter_as_it_is) {
  Flow flow;
  EXPECT_EQ(flow.dial_ms(30'000), 30'000U);
  flow.dial_by = Clock::now() + std::chrono::hours(1);
  EXPECT_EQ(flow.dial_ms(30'000), 30'000U);
  flow.dial_by = Clock::now() - std::chrono::hours(1);
  EXPECT_EQ(flow.dial_ms(30'000), 0U);
}

}  // namespace
}  // namespace shunt
