// SPDX-License-Identifier: GPL-2.0-only
#include "egress/tls_client.h"

#include "base/error_numbers.h"
#include "egress/http_connect.h"
#include "egress/stream_io.h"
#include "unit/egress/fake_peer.h"
#include "unit/support/tls_peer.h"

namespace shunt {
namespace {

using test::expect;
using test::FakePeer;
using test::flow_to;
using test::hang_up;
using test::SelfSigned;
using test::Stage;
using test::stall;
using test::TlsPeer;

const Flow kFlow = flow_to(*Endpoint::parse("192.0.2.7:80"));
const std::string kRequest = "CONNECT 192.0.2.7:80 HTTP/1.1\r\nHost: 192.0.2.7:80\r\n\r\n";
const std::string kName = "proxy.shunt.example";

std::shared_ptr<ProxyServer> server_at(const Endpoint& address, const TlsSettings& settings) {
  auto server = std::make_shared<ProxyServer>("https://proxy", std::vector{address}, std::nullopt,
                                              UpstreamOptions{.handshake_timeout_ms = 2'000});
  auto tls = TlsClient::create(settings);
  EXPECT_TRUE(tls.has_value());
  if (tls) server->tls = std::move(*tls);
  return server;
}

/// What came of a connection, and of what was said on it.
struct Talked {
  std::optional<ConnectFailure> failure;
  std::string early;
  std::vector<std::string> answers;  ///< or the reason why there was none
};

constexpr std::string_view kEnd = "(end)";  // says that nothing more will be sent

Task<Talked> talk(EventLoop& loop, const WayOut& out, std::vector<std::string> words) {
  Talked talked;
  auto upstream = co_await out.connect(loop, kFlow, {});
  if (!upstream) {
    talked.failure = upstream.error();
    co_return talked;
  }
  EXPECT_NE(upstream->layer, nullptr);
  talked.early = upstream->early_data;
  const Deadline deadline(test::kPatienceMs);
  for (const std::string& word : words) {
    if (word == kEnd) {
      EXPECT_EQ(upstream->layer->finish_sending(), 0);
    } else {
      (void)co_await send_all(loop, *upstream, word, deadline);
    }
    char buffer[64];
    const auto count = co_await receive_some(loop, *upstream, buffer, sizeof buffer, deadline);
    talked.answers.push_back(count ? std::string(buffer, *count)
                                   : std::string(reason_text(count.error().reason)));
  }
  co_return talked;
}

Talked talk_to(const Endpoint& address, const TlsSettings& settings,
               std::vector<std::string> words = {}) {
  Stage stage;
  const auto out = make_http_connect(server_at(address, settings), false);
  return stage.run(talk(stage.loop(), *out, std::move(words)));
}

TEST(TlsClient, a_tunnel_within_tls_carries_both_ways) {
  const SelfSigned identity(kName);
  TlsPeer peer(identity, [](TlsPeer& tls) {
    EXPECT_EQ(tls.hear(kRequest.size()), kRequest);
    tls.say("HTTP/1.1 200 OK\r\n\r\n220 ready");
    EXPECT_EQ(tls.hear(4), "ping");
    tls.say("pong");
    EXPECT_TRUE(tls.hears_the_end());
    tls.say_end();
  });
  const auto talked = talk_to(peer.address(), {.server_name = kName, .ca_file = identity.path()},
                              {"ping", std::string(kEnd)});
  ASSERT_FALSE(talked.failure) << talked.failure->detail;
  EXPECT_EQ(talked.early, "220 ready");
  EXPECT_EQ(talked.answers, (std::vector<std::string>{"pong", ""}));  // the end was said
}

TEST(TlsClient, an_address_is_a_name_for_a_certificate_too) {
  const SelfSigned identity("127.0.0.1");
  TlsPeer peer(identity, [](TlsPeer& tls) {
    (void)tls.hear(kRequest.size());
    tls.say("HTTP/1.1 200 OK\r\n\r\n");
  });
  const auto talked =
      talk_to(peer.address(), {.server_name = "127.0.0.1", .ca_file = identity.path()});
  EXPECT_FALSE(talked.failure) << talked.failure->detail;
}

TEST(TlsClient, a_connection_that_breaks_off_is_no_end) {
  const SelfSigned identity(kName);
  TlsPeer peer(identity, [](TlsPeer& tls) {
    (void)tls.hear(kRequest.size());
    tls.say("HTTP/1.1 200 OK\r\n\r\n");
  });
  const auto talked =
      talk_to(peer.address(), {.server_name = kName, .ca_file = identity.path()}, {""});
  ASSERT_FALSE(talked.failure) << talked.failure->detail;
  EXPECT_EQ(talked.answers, (std::vector<std::string>{"reset"}));
}

TEST(TlsClient, a_certificate_for_another_name_is_refused) {
  const SelfSigned identity("other.shunt.example");
  TlsPeer peer(identity, [](TlsPeer&) { ADD_FAILURE() << "the handshake went through"; });
  const auto talked = talk_to(peer.address(), {.server_name = kName, .ca_file = identity.path()});
  ASSERT_TRUE(talked.failure);
  EXPECT_EQ(talked.failure->reason, ConnectReason::proxy_error);
  EXPECT_NE(talked.failure->detail.find("name"), std::string::npos) << talked.failure->detail;
}

TEST(TlsClient, a_certificate_that_nobody_vouches_for_is_refused) {
  const SelfSigned identity(kName);
  const SelfSigned trusted(kName);
  TlsPeer peer(identity, [](TlsPeer&) { ADD_FAILURE() << "the handshake went through"; });
  const auto talked = talk_to(peer.address(), {.server_name = kName, .ca_file = trusted.path()});
  ASSERT_TRUE(talked.failure);
  EXPECT_EQ(talked.failure->reason, ConnectReason::proxy_error);
  EXPECT_NE(talked.failure->detail.find("ertificate"), std::string::npos) << talked.failure->detail;
}

TEST(TlsClient, a_server_that_speaks_something_else_is_given_up) {
  const SelfSigned trusted(kName);
  const TlsSettings settings{.server_name = kName, .ca_file = trusted.path()};
  const auto against = [&settings](test::Script script) {
    Stage stage;
    FakePeer peer(stage, {std::move(script)});
    const auto out = make_http_connect(server_at(peer.address(), settings), false);
    const auto upstream = stage.run(out->connect(stage.loop(), kFlow, {}), peer.serve());
    return upstream ? ConnectReason::cancelled : upstream.error().reason;
  };
  EXPECT_EQ(against({expect("\x16\x03"), test::say("HTTP/1.1 400 Bad Request\r\n\r\n")}),
            ConnectReason::proxy_error);
  EXPECT_EQ(against({expect("\x16\x03"), hang_up()}), ConnectReason::proxy_error);
  EXPECT_EQ(against({stall()}), ConnectReason::proxy_error);  // "cannot reach": in 2 s
}

TEST(TlsClient, a_file_without_certificates_is_an_error) {
  const auto none = TlsClient::create({.server_name = kName, .ca_file = "/dev/null"});
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().number, error_number::kBadWayOut);
}

}  // namespace
}  // namespace shunt
