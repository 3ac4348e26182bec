// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>
#include <thread>

#include "unit/observe/log_fixture.h"

namespace shunt {
namespace {

class Console : public ::testing::Test {
 protected:
  void start(bool with_names = true, bool colour = false) {
    log_ = make_console_log(
        {.fd = file_.fd(), .colour = colour, .names = with_names ? &names_ : nullptr});
  }

  /// All lines, with each time of day replaced by "TIME    " or, where blank, left blank.
  std::vector<std::string> lines() {
    EXPECT_TRUE(log_->stop(kPatienceMs));
    auto all = lines_of(file_.text());
    for (std::string& line : all) {
      line = std::regex_replace(line, std::regex("^[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"), "TIME    ");
    }
    return all;
  }

  /// A line below one of its own flow may or may not repeat the time: the second may have passed.
  static std::string without_time(const std::string& line) { return line.substr(8); }

  MemoryFile file_;
  NamesByPort names_;
  std::unique_ptr<TrafficLog> log_;
};

TEST_F(Console, request_and_response_look_as_promised) {
  start();
  const Flow flow = make_flow(1, "192.0.2.10:51514", "198.51.100.7:80");
  log_->flow_start(flow);
  log_->http_request(flow, get(1));
  log_->http_response(flow, answer(1, 301, "Moved Permanently"));
  log_->flow_end(flow, ended(72, 314, 90));
  const auto all = lines();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0], "TIME     curl[4711] → GET / bing.com                          via direct");
  EXPECT_EQ(without_time(all[1]), "            ← 301 Moved Permanently  0 B  84 ms");
  EXPECT_EQ(without_time(all[2]),
            "            ⇄ http 198.51.100.7:80  ↑72 ↓314  90ms  closed  via direct");
  EXPECT_EQ(names_.lookups, 1);
}

TEST_F(Console, tls_flow_has_one_line_with_the_chosen_protocol) {
  start();
  const Flow flow = make_flow(1);
  TlsHello hello;
  hello.server_name = "www.bing.com";
  hello.alpn_offered = {"h2", "http/1.1"};
  hello.alpn_chosen = "h2";
  log_->tls_hello(flow, hello);
  log_->flow_end(flow, ended(1'200, 88'000, 310));
  EXPECT_EQ(lines(), std::vector<std::string>{"TIME     curl[4711] ⇄ tls www.bing.com:443 (h2)  "
                                              "↑1.2k ↓88k  310ms  closed  via direct"});
}

TEST_F(Console, what_was_only_offered_is_shown_as_an_offer) {
  start();
  TlsHello hello;
  hello.server_name = "www.bing.com";
  hello.alpn_offered = {"h2", "http/1.1"};
  hello.version = 0x0304;
  hello.ech = true;
  log_->tls_hello(make_flow(1), hello);
  log_->flow_end(make_flow(1), ended(0, 0, 1));
  hello = {};
  log_->tls_hello(make_flow(2), hello);
  log_->flow_end(make_flow(2), ended(0, 0, 1));
  const auto all = lines();
  EXPECT_NE(all[0].find("www.bing.com:443 (offers h2, http/1.1; ech: perhaps a cover name)  ↑0"),
            std::string::npos);
  EXPECT_NE(all[1].find("⇄ tls 198.51.100.7:443  ↑0 ↓0"), std::string::npos);
}

TEST_F(Console, response_repeats_its_request_when_another_line_came_between) {
  start();
  const Flow one = make_flow(1);
  const Flow two = make_flow(2, "192.0.2.10:40000");
  log_->http_request(one, get(1, "a.example"));
  log_->http_request(two, get(1, "b.example"));
  HttpResponse response = answer(1, 200, "OK", 1500);
  response.request = get(1, "a.example");
  log_->http_response(one, response);
  response.request = get(1, "b.example");
  log_->http_response(two, response);
  const auto all = lines();
  EXPECT_EQ(without_time(all[2]), " curl[4711] ← 200 OK  1.5 kB  84 ms  for GET / a.example");
  EXPECT_EQ(without_time(all[3]), " 192.0.2.10 ← 200 OK  1.5 kB  84 ms  for GET / b.example");
}

TEST_F(Console, pipelined_responses_say_what_they_answer) {
  start();
  const Flow flow = make_flow(1);
  log_->http_request(flow, get(1));
  log_->http_request(flow, get(2));
  log_->http_response(flow, answer(1, 200, "OK"));
  log_->http_response(flow, answer(2, 404, ""));
  const auto all = lines();
  EXPECT_EQ(without_time(all[2]), "            ← 200 OK  0 B  84 ms  for GET / bing.com");
  EXPECT_EQ(without_time(all[3]), "            ← 404  0 B  84 ms  for GET / bing.com");
}

TEST_F(Console, cut_and_unsolicited_responses_are_told) {
  start();
  HttpResponse response = answer(0, 408, "Request Timeout");
  response.request = {};
  log_->http_response(make_flow(1), response);
  response = answer(1, 200, "OK", 10);
  response.body_end = BodyEnd::cut;
  log_->http_response(make_flow(2), response);
  response.body_end = BodyEnd::unseen;
  log_->http_response(make_flow(3), response);
  const auto all = lines();
  EXPECT_EQ(without_time(all[0]), " curl[4711] ← 408 Request Timeout  0 B  84 ms");
  EXPECT_EQ(without_time(all[1]),
            " curl[4711] ← 200 OK  10 B  84 ms  cut short  for GET / bing.com");
  EXPECT_EQ(without_time(all[2]), " curl[4711] ← 200 OK  84 ms  for GET / bing.com");
}

TEST_F(Console, failures_say_what_they_were) {
  start(false);
  log_->flow_end(make_flow(1), refused(ConnectReason::refused, ECONNREFUSED, ""));
  Flow flow = make_flow(2, "[2001:db8::5]:1000", "[2001:db8::1]:22");
  flow.way_out = "socks5://127.0.0.1:1080";
  log_->flow_end(flow, refused(ConnectReason::denied, 0, "ruleset\n"));
  flow = make_flow(3);
  flow.way_out = {};
  log_->flow_end(flow, refused(ConnectReason::loop, 0, ""));
  const auto all = lines();
  EXPECT_EQ(without_time(all[0]), " 192.0.2.10 ✗ tcp 198.51.100.7:443  refused  3ms  via direct");
  EXPECT_EQ(without_time(all[1]),
            " 2001:db8::5 ✗ tcp [2001:db8::1]:22  denied by proxy (ruleset\\x0a)  3ms  "
            "via socks5://127.0.0.1:1080");
  EXPECT_EQ(without_time(all[2]), " 192.0.2.10  ✗ tcp 198.51.100.7:443  loop  3ms");
}

TEST_F(Console, rule_that_decided_stands_on_the_lines_of_its_flow) {
  start(false);
  Flow flow = make_flow(1);
  flow.rule = 2;
  flow.way_out = "wan2";
  log_->flow_end(flow, ended(1200, 88'000, 310));
  flow = make_flow(2);
  flow.way_out = {};
  flow.rule = 3;
  log_->flow_end(flow, refused(ConnectReason::rejected_by_rule, 0, ""));
  log_->flow_end(flow, refused(ConnectReason::dropped_by_rule, 0, ""));
  flow.rule = 0;
  log_->flow_end(flow, refused(ConnectReason::rejected_by_rule, 0, ""));
  const auto all = lines();
  EXPECT_TRUE(all[0].ends_with("310ms  closed  rule 2 → wan2")) << all[0];
  EXPECT_TRUE(all[1].ends_with("  rejected by rule 3  3ms")) << all[1];
  EXPECT_TRUE(all[2].ends_with("  dropped by rule 3  3ms")) << all[2];
  EXPECT_TRUE(all[3].ends_with("  rejected by default  3ms")) << all[3];
}

TEST_F(Console, name_that_decided_stands_for_the_address) {
  start(false);
  Flow flow = make_flow(1);
  const auto deny = [&](const FlowHost& host) {
    flow.host = host;
    log_->flow_end(flow, refused(ConnectReason::rejected_by_rule, 0, ""));
  };
  deny({.name = "a\x1b.example", .source = NameSource::tls_sni});
  deny({.name = "a.example", .source = NameSource::http_host});
  deny({.name = "a.example", .source = NameSource::dns_memory});
  flow.protocol = Protocol::udp;
  deny({.name = "a.example", .source = NameSource::quic_sni, .ech = true});
  deny({.name = "a.example", .source = NameSource::fake_ip});
  const auto all = lines();
  EXPECT_NE(all[0].find("✗ tls a\\x1b.example:443  rej"), std::string::npos) << all[0];
  EXPECT_NE(all[1].find("✗ http a.example:443  rej"), std::string::npos) << all[1];
  EXPECT_NE(all[2].find("✗ tcp a.example:443 (name by dns)  rej"), std::string::npos) << all[2];
  EXPECT_NE(all[3].find("✗ quic a.example:443 (ech: perhaps a cover name)  rej"), std::string::npos)
      << all[3];
  EXPECT_NE(all[4].find("✗ udp a.example:443 (name by fake-ip)  rej"), std::string::npos) << all[4];
}

TEST_F(Console, quic_is_called_so) {
  start(false);
  Flow flow = make_flow(1);
  flow.protocol = Protocol::udp;
  log_->tls_hello(flow, {.server_name = "a.example", .alpn_offered = {"h3"}, .alpn_chosen = {}});
  log_->flow_end(flow, ended(1, 2, 3));
  flow.id = 2;
  TlsHello said_before{.server_name = "a.example", .alpn_offered = {"h3"}, .alpn_chosen = {}};
  said_before.moved = true;
  log_->tls_hello(flow, said_before);
  log_->flow_end(flow, ended(1, 2, 3));
  const auto all = lines();
  EXPECT_NE(all[0].find("⇄ quic a.example:443 (offers h3)  "), std::string::npos) << all[0];
  EXPECT_NE(all[1].find("⇄ quic a.example:443 (offers h3; moved)  "), std::string::npos) << all[1];
}

TEST_F(Console, udp_session_has_a_closing_line_with_packets) {
  start(false);
  Flow flow = make_flow(1, "192.0.2.10:5353", "192.0.2.53:53");
  flow.protocol = Protocol::udp;
  FlowEnd end = ended(45, 61, 12);
  end.datagrams_up = 1;
  end.datagrams_down = 1;
  end.reason = EndReason::idle;
  log_->flow_end(flow, end);
  EXPECT_EQ(lines(), std::vector<std::string>{
                         "TIME     192.0.2.10 ⇄ udp 192.0.2.53:53  ↑1 ↓1 packets  ↑45 ↓61  12ms  "
                         "idle  via direct"});
}

TEST_F(Console, absolute_target_is_not_followed_by_its_host) {
  start(false);
  HttpRequest request = get(1);
  request.target = "http://bing.com/";
  log_->http_request(make_flow(1), request);
  request = {.number = 2, .method = "CONNECT", .target = "bing.com:443", .host = "bing.com:443"};
  log_->http_request(make_flow(2), request);
  const auto all = lines();
  EXPECT_EQ(all[0], "TIME     192.0.2.10 → GET http://bing.com/                    via direct");
  EXPECT_EQ(all[1], "TIME     192.0.2.10 → CONNECT bing.com:443                    via direct");
}

TEST_F(Console, flow_that_stays_silent_is_announced_once) {
  start();
  Flow silent = make_flow(1);
  silent.started = Clock::now() - std::chrono::seconds(2);
  log_->flow_start(silent);
  ASSERT_TRUE(log_->flush(kPatienceMs));
  Flow spoken = make_flow(2);
  log_->flow_start(spoken);
  log_->http_request(spoken, get(1));
  log_->flow_end(silent, ended(1, 2, 3));
  const auto all = lines();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(without_time(all[0]), " curl[4711] ⇄ tcp 198.51.100.7:443  open  via direct");
  EXPECT_NE(all[2].find("⇄ tcp 198.51.100.7:443  ↑1 ↓2  3ms  closed"), std::string::npos);
}

TEST_F(Console, query_of_dns_is_shown_when_it_ends_and_not_before) {
  start();
  Flow query = make_flow(1);
  query.protocol = Protocol::udp;
  query.original_destination.port = 53;
  query.started = Clock::now() - std::chrono::seconds(2);
  log_->flow_start(query);
  ASSERT_TRUE(log_->flush(kPatienceMs));
  log_->flow_end(query, ended(1, 2, 3));
  const auto all = lines();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_NE(all[0].find("closed"), std::string::npos);
}

TEST_F(Console, announcement_comes_without_another_event) {
  start();
  log_->flow_start(make_flow(1));
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (file_.text().empty() && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(Console, hostile_process_name_is_escaped) {
  start();
  log_->flow_end(make_flow(1, "192.0.2.10:6666"), ended(0, 0, 0));
  EXPECT_NE(lines()[0].find(" e\\x1b[2Jvil\\x0a[13] ⇄"), std::string::npos);
}

TEST_F(Console, colour_only_repeats_what_the_words_say) {
  start(true, true);
  const Flow flow = make_flow(1);
  log_->http_request(flow, get(1));
  log_->http_response(flow, answer(1, 500, "Broken"));
  log_->flow_end(flow, refused(ConnectReason::reset, 0, ""));
  ASSERT_TRUE(log_->stop(kPatienceMs));
  const std::string painted = file_.text();
  EXPECT_NE(painted.find("\x1b[31m500 Broken\x1b[0m"), std::string::npos);
  const std::string plain = std::regex_replace(painted, std::regex("\x1b\\[[0-9]*m"), "");
  EXPECT_NE(plain.find("curl[4711] → GET / bing.com                          via direct\n"),
            std::string::npos);
  EXPECT_NE(plain.find("✗ http 198.51.100.7:443  reset  3ms  via direct\n"), std::string::npos);
}

}  // namespace
}  // namespace shunt
