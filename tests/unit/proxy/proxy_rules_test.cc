// SPDX-License-Identifier: GPL-2.0-only
// Rules in the whole proxy without a capture: what clients see of them, and their replacement while
// flows live.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "base/counters.h"
#include "base/limits.h"
#include "unit/proxy/proxy_fixture.h"
#include "unit/sniff/tls_samples.h"

namespace shunt {
namespace {

using namespace test;

class ProxyRulesTest : public ProxyTest {
 protected:
  /// "dead" and "dead2" fail, "live" leads to the server.
  std::shared_ptr<const Policy> rules(const std::vector<std::string>& texts) {
    PolicySource source;
    source.ways_out = {"dead", "dead2", "live"};
    source.fallback.text = "live";
    for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
    const Endpoint server = *local_endpoint(server_.get());
    const auto live = std::make_shared<FixedWayOut>(server, nullptr);
    const auto dead = std::make_shared<FixedWayOut>(server, nullptr, ConnectReason::timed_out);
    return Policy::create(Ruleset::compile(std::move(source)).value(), {live, dead, dead, live});
  }

  /// A client that sent `text`, and its upstream, which got it.
  std::pair<UniqueFd, UniqueFd> exchange(std::string_view text) {
    UniqueFd client = dial(front_);
    send_all(client.get(), text);
    UniqueFd upstream = accept_one(server_);
    EXPECT_EQ(receive(upstream.get(), text.size()), text);
    return {std::move(client), std::move(upstream)};
  }
};

constexpr std::string_view kRequestA = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
constexpr std::string_view kRequestB = "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n";
constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(ProxyRulesTest, rejected_client_is_reset) {
  start(rules({"host a.example -> reject"}));
  const UniqueFd client = dial(front_);
  send_all(client.get(), kRequestA);
  expect_reset(client);
  const auto ends = log_.wait_for_ends(1);
  EXPECT_EQ(ends[0].failure.value().reason, ConnectReason::rejected_by_rule);
}

TEST_F(ProxyRulesTest, dropped_client_hears_nothing) {
  start(rules({"host a.example -> drop"}));
  const UniqueFd client = dial(front_);
  send_all(client.get(), kRequestA);
  EXPECT_EQ(log_.wait_for_ends(1)[0].failure.value().reason, ConnectReason::dropped_by_rule);
  pollfd poll{.fd = client.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&poll, 1, 100), 0);
}

TEST_F(ProxyRulesTest, way_out_that_fails_gives_way_to_the_next) {
  start(rules({"-> dead else live"}));
  auto [client, upstream] = exchange("hello");
  client.reset();
  upstream.reset();
  EXPECT_EQ(log_.wait_for_ends(1)[0].reason, EndReason::closed);
}

TEST_F(ProxyRulesTest, way_out_that_fails_last_says_why) {
  start(rules({"-> dead else dead2"}));
  const UniqueFd client = dial(front_);
  expect_reset(client);
  EXPECT_EQ(log_.wait_for_ends(1)[0].failure.value().reason, ConnectReason::timed_out);
}

TEST_F(ProxyRulesTest, later_request_for_a_host_decided_otherwise_does_not_pass) {
  start(rules({"host b.example -> reject"}));
  auto [client, upstream] = exchange(kRequestA);
  send_all(upstream.get(), kAnswer);
  EXPECT_EQ(receive(client.get(), kAnswer.size()), kAnswer);
  send_all(client.get(), kRequestB);
  expect_reset(client);
  int error = 0;
  EXPECT_EQ(receive_to_end(upstream.get(), &error), "");
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(log_.wait_for_ends(1)[0].reason, EndReason::host_changed);
}

TEST_F(ProxyRulesTest, later_requests_for_a_host_decided_alike_pass) {
  start(rules({"host c.example -> reject"}));
  auto [client, upstream] = exchange(kRequestA);
  send_all(client.get(), kRequestB);
  EXPECT_EQ(receive(upstream.get(), kRequestB.size()), kRequestB);
}

TEST_F(ProxyRulesTest, pipelined_request_for_another_host_does_not_pass) {
  start(rules({"host b.example -> reject"}));
  UniqueFd client = dial(front_);
  send_all(client.get(), std::string(kRequestA) + std::string(kRequestB));
  expect_reset(client);
  const UniqueFd upstream = accept_one(server_);
  EXPECT_EQ(receive_to_end(upstream.get()), "");
}

TEST_F(ProxyRulesTest, what_cannot_be_followed_does_not_pass_behind_a_request) {
  start(rules({"host b.example -> reject"}));
  auto [client, upstream] = exchange(kRequestA);
  send_all(client.get(), "\x01\x02 no request\r\n\r\n");
  expect_reset(client);
}

// The answer has been read: nothing is awaited, and nothing but the rules makes anybody look.
TEST_F(ProxyRulesTest, later_request_that_cannot_be_followed_does_not_pass_a_quiet_connection) {
  const std::string tail = " HTTP/1.1\r\nHost: b.example\r\n\r\n";
  const std::vector<std::string> requests = {
      "GET  /" + tail,
      "GET / HTTP/1.1 \r\nHost: b.example\r\n\r\n",
      "GET / HTTP/1.1\r\nno colon\r\nHost: b.example\r\n\r\n",
      "GET / HTTP/1.1\r\nX(Y): x\r\nHost: b.example\r\n\r\n",
      "GET / HTTP/1.1\r\nX: " + std::string(limits::kHttpHeadBytes, 'x') +
          "\r\nHost: b.example\r\n\r\n",
      std::string(33, 'A') + " /" + tail,
  };
  start(rules({"host b.example -> reject"}));
  for (const std::string& request : requests) {
    auto [client, upstream] = exchange(kRequestA);
    send_all(upstream.get(), kAnswer);
    EXPECT_EQ(receive(client.get(), kAnswer.size()), kAnswer);
    send_all(client.get(), request);
    expect_reset(client);
    int error = 0;
    EXPECT_EQ(receive_to_end(upstream.get(), &error), "") << request.substr(0, 60);
    EXPECT_EQ(error, ECONNRESET);
  }
  for (const FlowEnd& end : log_.wait_for_ends(requests.size())) {
    EXPECT_EQ(end.reason, EndReason::host_changed);
    EXPECT_EQ(end.bytes_up, kRequestA.size());
  }
}

TEST_F(ProxyRulesTest, tunnel_behind_an_upgrade_passes) {
  start(rules({"host b.example -> reject"}));
  auto [client, upstream] =
      exchange("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
  constexpr std::string_view kSwitch =
      "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
  send_all(upstream.get(), kSwitch);
  EXPECT_EQ(receive(client.get(), kSwitch.size()), kSwitch);
  send_all(client.get(), kRequestB);
  EXPECT_EQ(receive(upstream.get(), kRequestB.size()), kRequestB);
}

TEST_F(ProxyRulesTest, client_that_names_a_denied_host_too_late_does_not_reach_it) {
  sniff_wait_ms_ = 20;
  start(rules({"host a.example -> reject"}));
  const UniqueFd client = dial(front_);
  const UniqueFd upstream = accept_one(server_);  // by its address, when the wait is over
  send_all(client.get(), kRequestA);
  expect_reset(client);
  EXPECT_EQ(receive_to_end(upstream.get()), "");
}

TEST_F(ProxyRulesTest, client_that_was_silent_and_speaks_no_http_is_left_alone) {
  sniff_wait_ms_ = 20;
  start(rules({"host a.example -> reject"}));
  const UniqueFd client = dial(front_);
  const UniqueFd upstream = accept_one(server_);
  send_all(client.get(), "\x01\x02\x03 binary");
  EXPECT_EQ(receive(upstream.get(), 10), "\x01\x02\x03 binary");
}

// Requests and hellos that some servers read and shunt does not.
std::vector<std::string> unreadable() {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  const std::string host = "Host: a.example\r\n\r\n";
  const std::string padding = extension(21, std::string(limits::kTlsHelloBytes, 'p'));
  return {"GET  / HTTP/1.1\r\n" + host, "GET / HTTP/1.1\r\nX(Y): x\r\n" + host,
          std::string(33, 'A') + " / HTTP/1.1\r\n" + host,
          "GET / HTTP/1.1\r\nX: " + std::string(limits::kHttpHeadBytes, 'x') + "\r\n" + host,
          records(client_hello_message(padding + server_name("a.example")))};
}

TEST_F(ProxyRulesTest, what_cannot_be_read_does_not_pass_where_a_rule_denies_by_name) {
  start(rules(
      {"port 1 host b.example -> reject", "host c.example -> live", "host a.example -> reject"}));
  std::size_t ends = 0;
  for (const std::string& bytes : unreadable()) {
    const UniqueFd client = dial(front_);
    send_all(client.get(), bytes);
    expect_reset(client);
    const auto all = log_.wait_for_ends(++ends);
    EXPECT_EQ(all.back().failure.value().reason, ConnectReason::rejected_by_rule)
        << bytes.substr(0, 60);
  }
  pollfd poll{.fd = server_.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&poll, 1, 0), 0);
}

TEST_F(ProxyRulesTest, what_cannot_be_read_passes_where_no_rule_denies_by_name) {
  start(rules({"port 1 host b.example -> reject", "host c.example -> live", "app ssh -> reject"}));
  for (const std::string& bytes : unreadable()) (void)exchange(bytes);
}

TEST_F(ProxyRulesTest, rule_behind_the_one_that_decides_denies_nothing) {
  start(rules({"client 127.0.0.0/8 app other,http,tls -> live", "host a.example -> reject"}));
  for (const std::string& bytes : unreadable()) (void)exchange(bytes);
}

TEST_F(ProxyRulesTest, other_protocols_pass_whatever_is_denied_by_name) {
  start(rules({"host a.example -> reject", "method POST -> reject"}));
  for (const std::string text :
       {"EHLO a.example\r\n", "PING\r\n", "NICK a.example\r\nUSER a 0 * :HTTP/1.1\r\n",
        "SET a.example HTTP\r\n", "OPTIONS rtsp://a.example/ RTSP/1.0\r\n",
        "\x01\x02\x03 binary"}) {
    (void)exchange(text);
  }
}

TEST_F(ProxyRulesTest, each_of_two_hosts_of_a_request_may_deny) {
  start(rules({"host b.example -> reject"}));
  const std::string fields = "Host: c.example\r\n\r\n";
  for (const std::string& request :
       std::vector<std::string>{"GET HTTP://B.example/ HTTP/1.1\r\n" + fields,
                                "GET ftp://b.example/ HTTP/1.1\r\n" + fields,
                                "GET http://c.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
                                "GET / HTTP/1.1\r\nHost: b.example\r\n" + fields}) {
    const UniqueFd first = dial(front_);
    send_all(first.get(), request);
    expect_reset(first);
    auto [client, upstream] = exchange(kRequestA);
    send_all(client.get(), request);
    expect_reset(client);
    EXPECT_EQ(receive_to_end(upstream.get()), "") << request;
  }
  (void)exchange("GET http://d.example/ HTTP/1.1\r\n" + fields);
}

class LateClientTest : public ProxyRulesTest {
 protected:
  /// Sends `first` before the sniff wait is over, and `late` behind it.
  std::pair<UniqueFd, UniqueFd> send_late(std::string_view first, std::string_view late) {
    UniqueFd client = dial(front_);
    if (!first.empty()) send_all(client.get(), first);
    UniqueFd upstream = accept_one(server_);  // by its address, when the wait is over
    EXPECT_EQ(receive(upstream.get(), first.size()), first);
    send_all(client.get(), late);
    return {std::move(client), std::move(upstream)};
  }
};

TEST_F(LateClientTest, hello_for_a_denied_host_does_not_pass) {
  sniff_wait_ms_ = 20;
  start(rules({"host a.example -> reject"}));
  const std::string hello = tls_samples::client_hello("a.example", {});
  for (const std::size_t before : {0, 1, 6, 60}) {
    auto [client, upstream] = send_late(hello.substr(0, before), hello.substr(before));
    expect_reset(client);
    EXPECT_EQ(receive_to_end(upstream.get()), "") << before;
  }
}

TEST_F(LateClientTest, hello_for_another_host_passes) {
  sniff_wait_ms_ = 20;
  start(rules({"host a.example -> reject"}));
  const std::string hello = tls_samples::client_hello("b.example", {}) + "and more";
  for (const std::size_t before : {0, 6}) {
    auto [client, upstream] = send_late(hello.substr(0, before), hello.substr(before));
    EXPECT_EQ(receive(upstream.get(), hello.size() - before), hello.substr(before));
    send_all(client.get(), "records");
    EXPECT_EQ(receive(upstream.get(), 7), "records");
  }
}

TEST_F(LateClientTest, what_cannot_be_read_does_not_pass_where_a_rule_denies_by_name) {
  sniff_wait_ms_ = 20;
  start(rules({"host a.example -> reject"}));
  for (const std::string& bytes : unreadable()) {
    auto [client, upstream] = send_late("", bytes);
    expect_reset(client);
    EXPECT_EQ(receive_to_end(upstream.get()).contains("a.example"), false) << bytes.substr(0, 60);
  }
}

TEST_F(LateClientTest, what_cannot_be_read_passes_where_no_rule_denies_by_name) {
  sniff_wait_ms_ = 20;
  start(rules({"host a.example -> live", "port 1 host b.example -> reject"}));
  for (const std::string& bytes : unreadable()) {
    auto [client, upstream] = send_late("", bytes);
    EXPECT_EQ(receive(upstream.get(), bytes.size()), bytes) << bytes.substr(0, 60);
  }
}

TEST_F(ProxyRulesTest, new_rules_are_for_new_flows) {
  start(rules({}));
  auto [client, upstream] = exchange("first");
  proxy_->replace_policy(rules({"-> reject"}), Proxy::LiveFlows::keep);
  expect_reset(dial(front_));
  send_all(client.get(), "second");
  EXPECT_EQ(receive(upstream.get(), 6), "second");
}

TEST_F(ProxyRulesTest, new_rules_may_end_the_flows_that_they_decide_otherwise) {
  start(rules({"host a.example -> live"}));
  auto [kept, kept_upstream] = exchange(kRequestA);
  auto [ended, ended_upstream] = exchange(kRequestB);
  proxy_->replace_policy(rules({"host b.example -> reject"}), Proxy::LiveFlows::end_changed);
  expect_reset(ended);
  EXPECT_EQ(log_.wait_for_ends(1)[0].reason, EndReason::rules_changed);
  send_all(kept_upstream.get(), kAnswer);
  EXPECT_EQ(receive(kept.get(), kAnswer.size()), kAnswer);
}

// Whatever the flow has come to when the rules change, it does not get through.
TEST_F(ProxyRulesTest, new_rules_may_end_a_flow_that_is_still_being_decided) {
  start(rules({"host a.example -> live"}));
  const UniqueFd client = dial(front_);
  send_all(client.get(), kRequestA.substr(0, 20));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // most likely it waits for the rest
  proxy_->replace_policy(rules({"-> reject"}), Proxy::LiveFlows::end_changed);
  send_all(client.get(), kRequestA.substr(20));
  expect_reset(client);
}

TEST_F(ProxyRulesTest, flows_that_new_rules_know_too_little_of_go_on) {
  start(rules({}));
  auto [client, upstream] = exchange(kRequestB);
  proxy_->replace_policy(rules({"host b.example -> reject"}), Proxy::LiveFlows::end_changed);
  proxy_->replace_policy(rules({"process x -> reject"}), Proxy::LiveFlows::end_changed);
  proxy_->replace_policy(rules({"in eth7 -> reject"}), Proxy::LiveFlows::end_changed);
  send_all(upstream.get(), kAnswer);
  EXPECT_EQ(receive(client.get(), kAnswer.size()), kAnswer);
}

TEST_F(ProxyRulesTest, new_rules_about_the_time_are_asked_about_the_flows_own) {
  start(rules({}));
  auto [client, upstream] = exchange(kRequestB);
  constexpr std::array kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
  const std::uint32_t today = minute_of_week(std::time(nullptr)) / (24 * 60);
  const std::string days = fmt::format("{},{}", kDays[today], kDays[(today + 6) % 7]);
  proxy_->replace_policy(rules({"not time " + days + " -> reject"}), Proxy::LiveFlows::end_changed);
  send_all(upstream.get(), kAnswer);
  EXPECT_EQ(receive(client.get(), kAnswer.size()), kAnswer);
  proxy_->replace_policy(rules({"time " + days + " -> reject"}), Proxy::LiveFlows::end_changed);
  expect_reset(client);
}

TEST_F(ProxyRulesTest, no_flow_fails_while_rules_are_replaced) {
  constexpr int kFlows = 100;
  start(rules({}));
  std::jthread replacing([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      auto next = i % 2 == 0 ? rules({"host b.example -> reject"}) : rules({"-> dead else live"});
      proxy_->replace_policy(std::move(next), Proxy::LiveFlows::keep);
    }
  });
  for (int i = 0; i < kFlows; ++i) {
    auto [client, upstream] = exchange(kRequestA);
    send_all(upstream.get(), kAnswer);
    EXPECT_EQ(receive(client.get(), 8), "HTTP/1.1");
  }
}

}  // namespace
}  // namespace shunt
