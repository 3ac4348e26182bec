// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <regex>

#include "unit/observe/json_checker.h"
#include "unit/observe/log_fixture.h"

namespace shunt {
namespace {

void log_every_event(TrafficLog& log) {
  Flow flow = make_flow(12, "192.0.2.10:51514", "198.51.100.7:80");
  log.flow_start(flow);
  log.http_request(flow, get(1));
  log.http_response(flow, answer(1, 301, "Moved"));
  HttpResponse unseen = answer(2, 200, "");
  unseen.body_end = BodyEnd::unseen;
  log.http_response(flow, unseen);
  log.flow_end(flow, ended(72, 314, 90));
  flow = make_flow(13, "[2001:db8::5]:6666", "[2001:db8::1]:443");
  flow.method = CaptureMethod::redirect;
  flow.way_out = {};
  TlsHello hello;
  log.tls_hello(flow, hello);
  hello = {.server_name = "a.example",
           .alpn_offered = {"h2", "\xff\n"},
           .alpn_chosen = "h2",
           .version = 0x0303,
           .ech = true};
  log.tls_hello(flow, hello);
  log.dns_answer(flow, {.name = "www.example",
                        .type = 1,
                        .rcode = 0,
                        .addresses = {*Address::parse("198.18.0.5")},
                        .fake = true});
  log.dns_answer(flow, {.name = "\\.\x1b", .type = 999, .rcode = 11, .addresses = {}});
  for (int reason = 0; reason <= static_cast<int>(ConnectReason::bad_proxy_header); ++reason) {
    log.flow_end(flow, refused(static_cast<ConnectReason>(reason), reason, "why \x1b"));
  }
  flow.method = CaptureMethod::listener;
  flow.listener = "web";
  flow.announced =
      std::make_shared<Announcement>(Announcement{.sender = *Endpoint::parse("10.0.0.1:5"),
                                                  .destination = *Endpoint::parse("192.0.2.9:443"),
                                                  .authority = "a\n.example",
                                                  .alpn = "h2",
                                                  .unique_id = "\x01\xff"});
  log.flow_start(flow);
  flow.protocol = Protocol::udp;
  flow.way_out = "wan2";
  flow.rule = 2;
  log.tls_hello(flow, {.server_name = "q.example", .alpn_offered = {"h3"}, .alpn_chosen = {}});
  hello = {.server_name = "q.example", .alpn_offered = {"h3"}, .alpn_chosen = {}, .moved = true};
  log.tls_hello(flow, hello);
  for (int source = 0; source <= static_cast<int>(NameSource::fake_ip); ++source) {
    flow.host = {.name = "h\x1b.example", .source = static_cast<NameSource>(source), .ech = true};
    if (source == 0) flow.host = {};
    log.flow_end(flow, ended(1, 2, 3));
  }
  for (int reason = 0; reason <= static_cast<int>(EndReason::host_changed); ++reason) {
    FlowEnd end = ended(1, 2, 3);
    end.reason = static_cast<EndReason>(reason);
    log.flow_end(flow, end);
  }
}

std::string all_events() {
  MemoryFile file;
  NamesByPort names;
  auto log = make_json_log({.fd = file.fd(), .names = &names});
  log_every_event(*log);
  EXPECT_TRUE(log->stop(kPatienceMs));
  return file.text();
}

TEST(JsonLog, keys_are_the_frozen_ones) {
  const std::regex time(R"("time":"[-0-9]{10}T[:0-9]{8}\.[0-9]{3}Z")");
  const auto lines = lines_of(std::regex_replace(all_events(), time, "TIME"));
  constexpr const char* kWhose =
      R"("flow":12,"protocol":"tcp","capture":"tproxy","client":"192.0.2.10","client_port":51514,)"
      R"("destination":"198.51.100.7","destination_port":80)";
  constexpr const char* kProcess = R"("process":"curl","pid":4711)";
  EXPECT_EQ(lines[0], fmt::format(R"({{"v":1,TIME,"event":"start",{},"way_out":"direct",{}}})",
                                  kWhose, kProcess));
  EXPECT_EQ(lines[1], fmt::format(R"({{"v":1,TIME,"event":"http_request",{},"request":1,)"
                                  R"("method":"GET","target":"/","host":"bing.com",)"
                                  R"("way_out":"direct",{}}})",
                                  kWhose, kProcess));
  EXPECT_EQ(lines[2], fmt::format(R"({{"v":1,TIME,"event":"http_response",{},"request":1,)"
                                  R"("status":301,"phrase":"Moved","body":"complete",)"
                                  R"("body_bytes":0,"elapsed_ms":84,{}}})",
                                  kWhose, kProcess));
  EXPECT_EQ(lines[4], fmt::format(R"({{"v":1,TIME,"event":"end",{},"reason":"closed",)"
                                  R"("bytes_up":72,"bytes_down":314,"elapsed_ms":90,)"
                                  R"("way_out":"direct",{}}})",
                                  kWhose, kProcess));
  EXPECT_NE(lines[6].find(R"("server_name":"a.example","version":"TLS 1.2",)"
                          R"("alpn_offered":["h2","\ufffd\u000a"],"alpn":"h2","ech":true,)"
                          R"("process":"e\u001b[2Jvil\u000a","pid":13})"),
            std::string::npos)
      << lines[6];
}

TEST(JsonLog, hello_of_another_session_is_marked) {
  const std::string text = all_events();
  EXPECT_NE(text.find(R"("server_name":"q.example","alpn_offered":["h3"],"ech":false,"way_out")"),
            std::string::npos);
  EXPECT_NE(text.find(R"("alpn_offered":["h3"],"ech":false,"moved":true,"way_out")"),
            std::string::npos);
}

TEST(JsonLog, name_that_decided_is_in_the_closing_line) {
  MemoryFile file;
  const auto log = make_json_log({.fd = file.fd()});
  Flow flow = make_flow(1);
  flow.host = {.name = "a.example", .source = NameSource::quic_sni, .ech = false};
  log->flow_end(flow, ended(1, 2, 3));
  flow.host = {.name = "b.example", .source = NameSource::tls_sni, .ech = true};
  log->flow_end(flow, ended(1, 2, 3));
  ASSERT_TRUE(log->flush(kPatienceMs));
  const auto lines = lines_of(file.text());
  EXPECT_NE(lines[0].find(R"("elapsed_ms":3,"host":"a.example","host_from":"quic","way_out")"),
            std::string::npos)
      << lines[0];
  EXPECT_NE(lines[1].find(R"("host":"b.example","host_from":"tls","ech":true,"way_out")"),
            std::string::npos)
      << lines[1];
}

TEST(JsonLog, answers_of_dns_have_their_words) {
  const std::string all = all_events();
  EXPECT_NE(all.find(R"("name":"www.example","type":"A","rcode":"NOERROR",)"
                     R"("addresses":["198.18.0.5"],"fake":true)"),
            std::string::npos);
  EXPECT_NE(all.find(R"("type":"TYPE999","rcode":"RCODE11","addresses":[],"fake":false)"),
            std::string::npos);
}

TEST(JsonLog, every_line_is_strict_json) {
  for (const std::string& line : lines_of(all_events())) EXPECT_TRUE(is_strict_json(line)) << line;
}

TEST(JsonLog, every_event_fits_the_published_schema) {
  if (std::system("/usr/bin/python3 -c '' 2>/dev/null") != 0) GTEST_SKIP() << "needs python3";
  const std::string path = ::testing::TempDir() + fmt::format("shunt-json-{}", ::getpid());
  std::ofstream(path) << all_events();
  const std::string root = SHUNT_SOURCE_DIR;
  const std::string command = fmt::format(
      "/usr/bin/python3 {0}/tests/unit/observe/check_json_lines.py "
      "{0}/docs/json.schema.json {1}",
      root, path);
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ofstream(path, std::ios::app) << R"({"v":1,"event":"end"})" << '\n';
  EXPECT_NE(std::system((command + " >/dev/null 2>&1").c_str()), 0) << "the check checks nothing";
  std::remove(path.c_str());
}

}  // namespace
}  // namespace shunt
