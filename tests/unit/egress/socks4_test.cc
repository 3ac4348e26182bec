// SPDX-License-Identifier: GPL-2.0-only
#include "egress/socks4.h"

#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

const std::string kGranted = "\x00\x5a\x00\x00\x00\x00\x00\x00"s;
const std::string kRequest = "\x04\x01\x00\x50\xc0\x00\x02\x07"s + "alice\0"s;

std::expected<Upstream, ConnectFailure> connect_through(Script script, const Hints& hints = {},
                                                        const char* to = "192.0.2.7:80",
                                                        UpstreamOptions options = {}) {
  Stage stage;
  FakePeer peer(stage, {std::move(script)});
  const auto out = make_socks4a(std::make_shared<ProxyServer>(
      "socks4a://proxy", std::vector{peer.address()}, Credentials{"alice", ""}, options));
  const Flow flow = flow_to(*Endpoint::parse(to));
  auto result = stage.run(out->connect(stage.loop(), flow, hints), peer.serve());
  if (result) result->socket.reset();  // the loop ends here
  return result;
}

TEST(Socks4a, asks_for_an_address_and_keeps_what_arrives_behind_the_reply) {
  const auto upstream = connect_through({expect(kRequest), say(kGranted + "220 ready\r\n")});
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(upstream->early_data, "220 ready\r\n");
}

TEST(Socks4a, sends_a_name_where_one_is_known) {
  const std::string request = "\x04\x01\x00\x50\x00\x00\x00\x01"s + "alice\0www.shunt.example\0"s;
  EXPECT_TRUE(connect_through({expect(request), say(kGranted)},
                              {.host = "www.shunt.example", .source = NameSource::tls_sni},
                              "[2001:db8::7]:80")
                  .has_value());
}

TEST(Socks4a, cannot_ask_for_an_ipv6_address) {
  Stage stage;
  const auto out = make_socks4a(std::make_shared<ProxyServer>(
      "socks4a://proxy", std::vector{Endpoint{}}, std::nullopt, UpstreamOptions{}));
  const Flow flow = flow_to(*Endpoint::parse("[2001:db8::7]:80"));
  const auto upstream = stage.run(out->connect(stage.loop(), flow, {}));
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::unsupported);
}

TEST(Socks4a, maps_what_the_server_says) {
  const std::pair<char, ConnectReason> cases[] = {{91, ConnectReason::host_unreachable},
                                                  {92, ConnectReason::proxy_error},
                                                  {93, ConnectReason::proxy_error},
                                                  {94, ConnectReason::proxy_error}};
  for (const auto& [code, reason] : cases) {
    const auto upstream =
        connect_through({expect(kRequest), say("\x00"s + code + std::string(6, '\0'))});
    ASSERT_FALSE(upstream.has_value());
    EXPECT_EQ(upstream.error().reason, reason) << int{code};
  }
}

TEST(Socks4a, a_hostile_server_is_given_up) {
  const auto another = connect_through({expect(kRequest), say("\x05\x00"s)});
  ASSERT_FALSE(another.has_value());
  EXPECT_EQ(another.error().reason, ConnectReason::proxy_error);
  const auto midway = connect_through({expect(kRequest), say("\x00\x5a"s), turn(), hang_up()});
  ASSERT_FALSE(midway.has_value());
  EXPECT_EQ(midway.error().reason, ConnectReason::reset);
  const auto silent =
      connect_through({stall()}, {}, "192.0.2.7:80", UpstreamOptions{.connect_timeout_ms = 100});
  ASSERT_FALSE(silent.has_value());
  EXPECT_EQ(silent.error().reason, ConnectReason::timed_out);
}

}  // namespace
}  // namespace shunt
