// SPDX-License-Identifier: GPL-2.0-only
// What speaks to a proxy or a resolver sends more than once before the relay does.
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "egress/direct.h"
#include "egress/proxy_link.h"
#include "egress/proxy_protocol_out.h"
#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

bool sends_without_delay(const Upstream& upstream) {
  int value = 0;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(upstream.socket.fd(), SOL_TCP, TCP_NODELAY, &value, &size), 0);
  return value != 0;
}

const Flow kFlow = flow_to(*Endpoint::parse("198.51.100.7:80"));

TEST(SendWithoutDelay, is_the_state_of_a_connection_to_a_proxy) {
  for (const bool through_a_hop : {false, true}) {
    Stage stage;
    FakePeer peer(stage, {Script{}});
    ProxyServer server("proxy", {peer.address()}, {}, {});
    if (through_a_hop) server.through = make_direct({});
    auto link = stage.run(ProxyLink::open(stage.loop(), server, kFlow), peer.serve());
    ASSERT_TRUE(link.has_value());
    EXPECT_TRUE(sends_without_delay(std::move(*link).into_upstream())) << through_a_hop;
  }
}

TEST(SendWithoutDelay, is_the_state_of_a_connection_that_a_header_introduced) {
  Stage stage;
  FakePeer peer(stage, {{expect("PROXY ")}});
  const auto out = make_proxy_protocol_out(make_direct({}), proxy_protocol::Version::v1);
  Flow flow = flow_to(peer.address());
  flow.source = *Endpoint::parse("192.0.2.9:1234");
  const auto upstream = stage.run(out->connect(stage.loop(), flow, {}), peer.serve());
  ASSERT_TRUE(upstream.has_value());
  EXPECT_TRUE(sends_without_delay(*upstream));
}

}  // namespace
}  // namespace shunt
