// SPDX-License-Identifier: GPL-2.0-only
// Rules in the whole proxy without a capture: what clients see of them, and their replacement while
// flows live.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <ctime>
#include <thread>

#include "base/counters.h"
#include "unit/proxy/proxy_fixture.h"

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
