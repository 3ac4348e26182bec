// SPDX-License-Identifier: GPL-2.0-only
#include "egress/http_connect.h"

#include "base/limits.h"
#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

using TcpResult = std::expected<Upstream, ConnectFailure>;

const Flow kFlow = flow_to(*Endpoint::parse("192.0.2.7:80"));
const std::string kRequest = "CONNECT 192.0.2.7:80 HTTP/1.1\r\nHost: 192.0.2.7:80\r\n\r\n";

TcpResult connect_through(Script script, const std::optional<Credentials>& credentials = {},
                          UpstreamOptions options = {}) {
  Stage stage;
  FakePeer peer(stage, {std::move(script)});
  const auto out = make_http_connect("http://proxy", {peer.address()}, credentials, options);
  auto result = stage.run(out->connect(stage.loop(), kFlow, {}), peer.serve());
  if (result) result->socket.reset();  // the loop ends here
  return result;
}

TEST(HttpConnect, opens_a_tunnel_and_keeps_what_arrives_behind_the_head) {
  for (const char* head : {"HTTP/1.1 200 Connection established\r\n\r\n",
                           "HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n",
                           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n"}) {
    const auto upstream = connect_through({expect(kRequest), say(head + "220 ready\r\n"s)});
    ASSERT_TRUE(upstream.has_value()) << head;
    EXPECT_EQ(upstream->early_data, "220 ready\r\n");
  }
}

TEST(HttpConnect, sends_its_credentials) {
  EXPECT_TRUE(connect_through({expect("CONNECT 192.0.2.7:80 HTTP/1.1\r\nHost: 192.0.2.7:80\r\n"
                                      "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n"),
                               say("HTTP/1.1 200 OK\r\n\r\n")},
                              Credentials{"alice", "secret"})
                  .has_value());
}

TEST(HttpConnect, every_split_of_the_head_gives_the_same) {
  const std::string head = "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n";
  for (std::size_t at = 1; at < head.size(); ++at) {
    const auto upstream = connect_through(
        {expect(kRequest), say(head.substr(0, at)), turn(), say(head.substr(at) + "x")});
    ASSERT_TRUE(upstream.has_value()) << at;
    EXPECT_EQ(upstream->early_data, "x") << at;
  }
}

struct Mapped {
  const char* head;
  ConnectReason reason;
};

TEST(HttpConnect, maps_what_the_proxies_say) {
  const Mapped answers[] = {
      {"HTTP/1.1 403 Forbidden\r\n\r\n", ConnectReason::denied},
      {"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", ConnectReason::proxy_error},
      {"HTTP/1.1 502 Bad Gateway\r\n\r\n", ConnectReason::host_unreachable},
      {"HTTP/1.1 503 Service Unavailable\r\n\r\n", ConnectReason::host_unreachable},
      {"HTTP/1.1 504 Gateway Timeout\r\n\r\n", ConnectReason::timed_out},
      {"HTTP/1.0 500 Unable to connect\r\n\r\n", ConnectReason::host_unreachable},
      {"HTTP/1.1 500 Internal Server Error\r\n\r\n", ConnectReason::proxy_error},
      {"HTTP/1.1 302 Found\r\n\r\n", ConnectReason::proxy_error},
      {"HTTP/1.1 101 Switching Protocols\r\n\r\n", ConnectReason::proxy_error},
      {"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\n\r\n", ConnectReason::refused},
      {"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 101\r\n\r\n",
       ConnectReason::network_unreachable},
      {"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL 110\r\n\r\n", ConnectReason::timed_out},
      {"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_CONNECT_FAIL\r\n\r\n",
       ConnectReason::host_unreachable},
      {"HTTP/1.1 503 x\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\n\r\n", ConnectReason::host_unreachable},
      {"HTTP/1.1 502 x\r\nProxy-Status: p; error=connection_refused; details=\"x\"\r\n\r\n",
       ConnectReason::refused},
      {"HTTP/1.1 502 x\r\nProxy-Status: p; error=connection_timeout, q\r\n\r\n",
       ConnectReason::timed_out},
      {"HTTP/1.1 504 x\r\nProxy-Status: p; error=tls_protocol_error\r\n\r\n",
       ConnectReason::timed_out},
  };
  for (const auto& [head, reason] : answers) {
    const auto upstream = connect_through({expect(kRequest), say(head + "<html>"s), hang_up()});
    ASSERT_FALSE(upstream.has_value()) << head;
    EXPECT_EQ(upstream.error().reason, reason) << head;
    EXPECT_TRUE(std::string_view(head).starts_with(upstream.error().detail)) << head;
  }
}

TEST(HttpConnect, survives_hostile_proxies) {
  std::string endless = "HTTP/1.1 200 OK\r\n";
  while (endless.size() < 2 * limits::kHttpHeadBytes) endless += "X: 0123456789\r\n";
  for (const std::string& words :
       {"\x05\x00"s, "SSH-2.0-x\r\n"s, "HTTP/1.1 2x0 OK\r\n"s, endless}) {
    const auto upstream = connect_through({expect(kRequest), say(words), stall()});
    ASSERT_FALSE(upstream.has_value());
    EXPECT_EQ(upstream.error().reason, ConnectReason::proxy_error);
  }
  const auto closed =
      connect_through({expect(kRequest), say("HTTP/1.1 200 OK\r\nX"), turn(), hang_up()});
  ASSERT_FALSE(closed.has_value());
  EXPECT_EQ(closed.error().reason, ConnectReason::reset);
}

TEST(HttpConnect, gives_up_on_a_slow_proxy_at_its_deadline) {
  const auto upstream = connect_through({expect(kRequest), say("HTTP/1.1 "), stall()}, {},
                                        {.connect_timeout_ms = 100});
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::timed_out);
}

TEST(HttpConnect, carries_no_udp) {
  Stage stage;
  const auto out = make_http_connect("http://proxy", {Endpoint{}}, {}, {});
  EXPECT_FALSE(out->carries_udp());
  const auto upstream = stage.run(out->associate(stage.loop(), kFlow));
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::unsupported);
}

}  // namespace
}  // namespace shunt
