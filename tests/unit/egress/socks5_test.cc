// SPDX-License-Identifier: GPL-2.0-only
#include "egress/socks5.h"

#include "egress/pipelining.h"
#include "egress/sendable_name.h"
#include "egress/wire/socks5.h"
#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

using TcpResult = std::expected<Upstream, ConnectFailure>;

const Flow kFlow = flow_to(*Endpoint::parse("192.0.2.7:80"));
const std::string kRequest = "\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"s;
const std::string kSuccess = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"s;
const std::string kAlice = "\x01\x05"s + "alice" + "\x06" + "secret";

const Script kStepByStep = {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest),
                            say(kSuccess)};

std::shared_ptr<const WayOut> proxy_at(const Endpoint& address, UpstreamOptions options = {},
                                       std::optional<Credentials> credentials = {},
                                       bool send_names = false) {
  return make_socks5("socks5://proxy", {address}, std::move(credentials), send_names, options);
}

TcpResult connect_through(Script script, std::optional<Credentials> credentials = {},
                          UpstreamOptions options = {}) {
  Stage stage;
  FakePeer peer(stage, {std::move(script)});
  const auto out = proxy_at(peer.address(), options, std::move(credentials));
  auto result = stage.run(out->connect(stage.loop(), kFlow, {}), peer.serve());
  // The descriptor belongs to a loop that ends here.
  if (result) result->socket.reset();
  return result;
}

TEST(Socks5, connects_without_authentication) {
  EXPECT_TRUE(connect_through(kStepByStep).has_value());
}

TEST(Socks5, connects_with_user_and_password) {
  EXPECT_TRUE(connect_through({expect("\x05\x02\x00\x02"s), say("\x05\x02"s), expect(kAlice),
                               say("\x01\x00"s), expect(kRequest), say(kSuccess)},
                              Credentials{"alice", "secret"})
                  .has_value());
}

TEST(Socks5, keeps_the_password_when_the_server_wants_none) {
  EXPECT_TRUE(connect_through(
                  {expect("\x05\x02\x00\x02"s), say("\x05\x00"s), expect(kRequest), say(kSuccess)},
                  Credentials{"alice", "secret"})
                  .has_value());
}

TEST(Socks5, keeps_what_arrives_behind_the_reply) {
  const auto upstream = connect_through({expect("\x05\x01\x00"s), say("\x05\x00"s),
                                         expect(kRequest), say(kSuccess + "220 ready\r\n")});
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(upstream->early_data, "220 ready\r\n");
}

TEST(Socks5, every_split_of_the_servers_words_gives_the_same) {
  for (std::size_t at = 1; at < kSuccess.size(); ++at) {
    const auto upstream = connect_through(
        {expect("\x05\x01\x00"s), say("\x05"s), turn(), say("\x00"s), expect(kRequest),
         say(kSuccess.substr(0, at)), turn(), say(kSuccess.substr(at) + "x")});
    ASSERT_TRUE(upstream.has_value()) << at;
    EXPECT_EQ(upstream->early_data, "x") << at;
  }
}

TEST(Socks5, maps_every_reply_code) {
  const std::pair<char, ConnectReason> replies[] = {
      {1, ConnectReason::proxy_error},
      {2, ConnectReason::denied},
      {3, ConnectReason::network_unreachable},
      {4, ConnectReason::host_unreachable},
      {5, ConnectReason::refused},
      {6, ConnectReason::timed_out},
      {7, ConnectReason::unsupported},
      {8, ConnectReason::unsupported},
      {9, ConnectReason::proxy_error},
      {'\xff', ConnectReason::proxy_error},
  };
  for (const auto& [code, reason] : replies) {
    std::string reply = kSuccess;
    reply[1] = code;
    const auto upstream = connect_through(
        {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest), say(reply), hang_up()});
    ASSERT_FALSE(upstream.has_value());
    EXPECT_EQ(upstream.error().reason, reason) << static_cast<int>(code);
    EXPECT_NE(upstream.error().detail, "");
  }
}

TEST(Socks5, a_failed_authentication_is_the_proxys_failure) {
  const auto none = connect_through({expect("\x05\x01\x00"s), say("\x05\xff"s), hang_up()});
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().reason, ConnectReason::proxy_error);
  EXPECT_EQ(none.error().detail, "socks5://proxy wants authentication");

  const auto wrong = connect_through(
      {expect("\x05\x02\x00\x02"s), say("\x05\x02"s), expect(kAlice), say("\x01\x01"s), hang_up()},
      Credentials{"alice", "secret"});
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().reason, ConnectReason::proxy_error);
  EXPECT_FALSE(wrong.error().detail.contains("secret"));
}

TEST(Socks5, survives_a_peer_that_speaks_something_else) {
  const std::string wrong[] = {
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      "\x04\x00"s,
      "\x05\x02"s,
      "\x05\x01"s,
      "\x05\x00\x05\x00\x00\x02"s,  // an address type that does not exist
      "\x05\x00\x04"s,
  };
  for (const auto& words : wrong) {
    const auto upstream = connect_through({expect("\x05\x01\x00"s), say(words), stall()});
    ASSERT_FALSE(upstream.has_value());
    EXPECT_EQ(upstream.error().reason, ConnectReason::proxy_error);
  }
}

TEST(Socks5, says_when_the_proxy_closes_midway) {
  const Script closing[] = {
      {hang_up()},
      {expect("\x05\x01\x00"s), hang_up()},
      {expect("\x05\x01\x00"s), say("\x05"s), hang_up()},
      {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest), hang_up()},
      {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest), reset()},
      {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest), say(kSuccess.substr(0, 7)),
       hang_up()},
  };
  for (const auto& script : closing) {
    const auto upstream = connect_through(script);
    ASSERT_FALSE(upstream.has_value());
    EXPECT_EQ(upstream.error().reason, ConnectReason::reset);
  }
}

TEST(Socks5, gives_up_on_a_slow_proxy_at_its_deadlines) {
  const UpstreamOptions slow_greeting{.handshake_timeout_ms = 100};
  const auto greeting = connect_through({expect("\x05\x01\x00"s), stall()}, {}, slow_greeting);
  ASSERT_FALSE(greeting.has_value());
  EXPECT_EQ(greeting.error().reason, ConnectReason::timed_out);

  const UpstreamOptions slow_dial{.connect_timeout_ms = 100};
  const auto dial = connect_through(
      {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest), say("\x05"s), stall()}, {},
      slow_dial);
  ASSERT_FALSE(dial.has_value());
  EXPECT_EQ(dial.error().reason, ConnectReason::timed_out);
}

TEST(Socks5, a_proxy_that_cannot_be_reached_is_not_the_destinations_fault) {
  Stage stage;
  auto bound = make_socket(Family::ipv4, SocketType::stream);
  ASSERT_TRUE(bind_to(bound->get(), {Address::loopback(Family::ipv4), 0}));
  const auto out = proxy_at(*local_endpoint(bound->get()));
  const auto upstream = stage.run(out->connect(stage.loop(), kFlow, {}));
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::proxy_error);
  EXPECT_EQ(upstream.error().os_error, ECONNREFUSED);
  EXPECT_EQ(upstream.error().detail, "cannot reach socks5://proxy: Connection refused");
}

TEST(Socks5, tries_the_proxys_addresses_in_order) {
  Stage stage;
  auto dead = make_socket(Family::ipv4, SocketType::stream);
  ASSERT_TRUE(bind_to(dead->get(), {Address::loopback(Family::ipv4), 0}));
  FakePeer peer(stage, {kStepByStep});
  const auto out =
      make_socks5("socks5://proxy", {*local_endpoint(dead->get()), peer.address()}, {}, false, {});
  const auto upstream = stage.run(out->connect(stage.loop(), kFlow, {}), peer.serve());
  EXPECT_TRUE(upstream.has_value());
}

TEST(Socks5, sends_a_name_only_as_socks5h) {
  const Hints hints{.host = "www.example:8080", .source = NameSource::http_host};
  const std::string by_name = "\x05\x01\x00\x03\x0b"s + "www.example" + "\x00\x50"s;
  for (const bool send_names : {false, true}) {
    Stage stage;
    FakePeer peer(stage, {{expect("\x05\x01\x00"s), say("\x05\x00"s),
                           expect(send_names ? by_name : kRequest), say(kSuccess)}});
    const auto out = proxy_at(peer.address(), {}, {}, send_names);
    EXPECT_EQ(out->wants_name(), send_names);
    const auto upstream = stage.run(out->connect(stage.loop(), kFlow, hints), peer.serve());
    EXPECT_TRUE(upstream.has_value());
  }
}

TEST(SendableName, is_a_host_name_and_nothing_else) {
  for (const char* name : {"www.example", "a-b_c.example.", "xn--p1ai", "1.2.3.4.example"}) {
    EXPECT_EQ(sendable_name(name), name);
  }
  EXPECT_EQ(sendable_name("www.example:80"), "www.example");
  const std::string too_long(254, 'a');
  for (const std::string& no_name :
       {""s, "192.0.2.1"s, "192.0.2.1:80"s, "[2001:db8::1]"s, "2001:db8::1"s, "127.1"s, "0x7f.1"s,
        "a.0x7f000001"s, "2130706433"s, "localhost"s, "a.LOCALHOST."s, "."s, "a..."s, "a b"s,
        "a\nb"s, "a/b"s, ".a"s, too_long}) {
    EXPECT_EQ(sendable_name(no_name), "") << no_name;
  }
}

/// Several flows through one way out, one after the other; says how many succeeded.
Task<int> several(EventLoop& loop, const WayOut& out, int count) {
  int succeeded = 0;
  for (int i = 0; i < count; ++i) {
    auto upstream = co_await out.connect(loop, kFlow, {});
    succeeded += upstream.has_value();
    for (int turns = 0; turns < 4; ++turns) (void)co_await loop.yield();  // for the probe's peer
  }
  co_return succeeded;
}

int several_through(std::vector<Script> scripts, int count,
                    std::optional<Credentials> credentials = {}) {
  Stage stage;
  FakePeer peer(stage, std::move(scripts));
  const auto out = proxy_at(peer.address(), {}, std::move(credentials));
  return stage.run(several(stage.loop(), *out, count), peer.serve());
}

const std::string kProbe = "\x05\x01\x00"s + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"s;
const std::string kRefused = "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"s;
const Script kAhead = {expect("\x05\x01\x00"s + kRequest), say("\x05\x00"s + kSuccess)};

TEST(Socks5Flows, go_ahead_once_a_probe_was_answered) {
  // The probe connects as the fourth flow ends.
  EXPECT_EQ(several_through({kStepByStep,
                             kStepByStep,
                             kStepByStep,
                             kStepByStep,
                             {expect(kProbe), say("\x05\x00"s + kRefused), hang_up()},
                             kStepByStep,
                             kAhead,
                             kAhead},
                            7),
            7);
}

TEST(Socks5Flows, go_ahead_with_the_password_where_the_server_wants_it) {
  const Script step_by_step = {expect("\x05\x02\x00\x02"s),
                               say("\x05\x02"s),
                               expect(kAlice),
                               say("\x01\x00"s),
                               expect(kRequest),
                               say(kSuccess)};
  const Script probe = {
      expect("\x05\x01\x02"s + kAlice + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"s),
      say("\x05\x02\x01\x00"s + kRefused), hang_up()};
  const Script ahead = {expect("\x05\x01\x02"s + kAlice + kRequest),
                        say("\x05\x02\x01\x00"s + kSuccess)};
  EXPECT_EQ(several_through({step_by_step, step_by_step, step_by_step, step_by_step, probe,
                             step_by_step, ahead},
                            6, Credentials{"alice", "secret"}),
            6);
}

TEST(Socks5Flows, stay_step_by_step_when_the_probe_fails) {
  const Script fails[] = {
      {expect(kProbe), hang_up()},
      {expect(kProbe), say("\x05\x00"s), hang_up()},
      {expect(kProbe), say("\x05\xff"s), hang_up()},
      {expect(kProbe), say("\x05\x00what"s), hang_up()},
  };
  for (const auto& probe : fails) {
    EXPECT_EQ(several_through({kStepByStep, kStepByStep, kStepByStep, kStepByStep, probe,
                               kStepByStep, kStepByStep, kStepByStep},
                              7),
              7);
  }
}

TEST(Socks5Flows, go_back_to_step_by_step_when_going_ahead_breaks) {
  EXPECT_EQ(
      several_through({kStepByStep,
                       kStepByStep,
                       kStepByStep,
                       kStepByStep,
                       {expect(kProbe), say("\x05\x00"s + kRefused), hang_up()},
                       kStepByStep,
                       {expect("\x05\x01\x00"s + kRequest), hang_up()},  // the server was changed
                       kStepByStep,
                       kStepByStep},
                      7),
      7);
}

TEST(Socks5Flows, go_on_ahead_when_the_destination_refuses) {
  EXPECT_EQ(several_through({kStepByStep,
                             kStepByStep,
                             kStepByStep,
                             kStepByStep,
                             {expect(kProbe), say("\x05\x00"s + kRefused), hang_up()},
                             kStepByStep,
                             {expect("\x05\x01\x00"s + kRequest), say("\x05\x00"s + kRefused)},
                             kAhead},
                            7),
            6);
}

class Openings : public UpstreamObserver {
 public:
  void opening() override { ++count; }
  void opened(const Endpoint& /*local*/, const Endpoint& /*remote*/) override {}
  void not_opened() override {}
  void closed(const Endpoint& /*local*/, const Endpoint& /*remote*/) override {}

  int count = 0;
};

/// How often the proxy is dialled by a flow that finds it gone.
Task<int> dials_when_gone(EventLoop& loop, const WayOut& out, FakePeer& peer,
                          const Openings& openings) {
  EXPECT_EQ(co_await several(loop, out, 6), 6);
  peer.stop_listening();
  const int before = openings.count;
  const auto upstream = co_await out.connect(loop, kFlow, {});
  EXPECT_FALSE(upstream.has_value());
  co_return openings.count - before;
}

TEST(Socks5Flows, dial_a_proxy_that_is_gone_only_once) {
  Stage stage;
  Openings openings;
  FakePeer peer(stage, {kStepByStep,
                        kStepByStep,
                        kStepByStep,
                        kStepByStep,
                        {expect(kProbe), say("\x05\x00"s + kRefused), hang_up()},
                        kStepByStep,
                        kAhead});
  const auto out = proxy_at(peer.address(), {.observer = &openings});
  EXPECT_EQ(stage.run(dials_when_gone(stage.loop(), *out, peer, openings), peer.serve()), 1);
}

}  // namespace
}  // namespace shunt
