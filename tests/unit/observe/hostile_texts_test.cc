// SPDX-License-Identifier: GPL-2.0-only
// Reliability row 14: whatever peers call themselves, a line stays one line, JSON parses, and no
// raw control byte reaches a terminal.
#include <gtest/gtest.h>

#include <random>

#include "observe/shown.h"
#include "unit/observe/json_checker.h"
#include "unit/observe/log_fixture.h"

namespace shunt {

std::vector<std::string> hostile_texts(std::size_t count) {
  static const std::string kParts[] = {"example.com",
                                       "\x1b[2J",
                                       "\x1b]0;title\x07",
                                       "\x1b[31m",
                                       "\r",
                                       "\n",
                                       "\t",
                                       "\"",
                                       "\\",
                                       "\\n",
                                       "\",\"v\":2,\"x\":\"",
                                       "}\n{\"v\":1}",
                                       std::string(1, '\0'),
                                       "\x7f",
                                       "\xc2\x9b"
                                       "2J",
                                       "\xc2\x85",
                                       "\xe2\x80\xae",
                                       "\xe2\x80\x8b",
                                       "\xe2\x81\xa6",
                                       "\xef\xbb\xbf",
                                       "\xe2\x80\xa8",
                                       "\xff\xfe",
                                       "\xc0\x80",
                                       "\xed\xa0\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xe2\x82",
                                       "\xf3\xa0\x80\x81",
                                       "\xcc\x81",
                                       "日本",
                                       "ü",
                                       "🙂",
                                       "← 200 OK",
                                       "✗",
                                       "%n%s{}",
                                       "12:00:00 curl[1] ",
                                       "'",
                                       "`rm`",
                                       "$(x)",
                                       "\x9b"
                                       "31m",
                                       "\b\b\b\b"};
  std::mt19937 random(14);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) {
    std::string text;
    const std::size_t parts = 1 + random() % 6;
    for (std::size_t part = 0; part < parts; ++part) {
      if (random() % 4 == 0) {
        text += static_cast<char>(random());
      } else {
        text += kParts[random() % std::size(kParts)];
      }
    }
    if (i % 500 == 0) text.append(5000, "\x1b"[0]);
    texts.push_back(std::move(text));
  }
  return texts;
}

namespace {

constexpr std::size_t kNames = 5000;

bool has_raw_control(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return true;  // C1
    }
  }
  return false;
}

/// Five events with hostile text for each name.
void log_hostile_flows(TrafficLog& log) {
  std::uint64_t id = 0;
  for (const std::string& text : hostile_texts(kNames)) {
    ++id;
    Flow flow = make_flow(id, id % 7 == 0 ? "192.0.2.10:6666" : "192.0.2.10:51514");
    flow.way_out = text;
    log.http_request(flow, {.number = 1, .method = text, .target = text, .host = text});
    HttpResponse response = answer(1, 200, text.c_str());
    response.request.target = text;
    log.http_response(flow, response);
    TlsHello hello;
    hello.server_name = text;
    hello.alpn_offered = {text, text};
    if (id % 2 == 0) hello.alpn_chosen = text;
    log.tls_hello(flow, hello);
    log.flow_end(flow, refused(ConnectReason::proxy_error, 0, text.c_str()));
    if (id % 100 == 0) {
      ASSERT_TRUE(log.flush(kPatienceMs));
    }
  }
}

TEST(HostileTexts, cannot_break_a_json_line) {
  MemoryFile file;
  NamesByPort names;
  auto log = make_json_log({.fd = file.fd(), .names = &names});
  log_hostile_flows(*log);
  ASSERT_TRUE(log->stop(kPatienceMs));
  const auto lines = lines_of(file.text());
  EXPECT_EQ(lines.size(), 4 * kNames);
  for (const std::string& line : lines) {
    ASSERT_TRUE(is_strict_json(line)) << line;
    ASSERT_FALSE(has_raw_control(line)) << line;
  }
}

TEST(HostileTexts, cannot_break_a_console_line) {
  MemoryFile file;
  NamesByPort names;
  auto log = make_console_log({.fd = file.fd(), .names = &names});
  log_hostile_flows(*log);
  ASSERT_TRUE(log->stop(kPatienceMs));
  const auto lines = lines_of(file.text());
  EXPECT_EQ(lines.size(), 3 * kNames);
  for (const std::string& line : lines) {
    ASSERT_FALSE(has_raw_control(line)) << line;
    ASSERT_TRUE(is_strict_json('"' + escaped_for_json_check(line) + '"')) << line;  // valid UTF-8
  }
}

}  // namespace
}  // namespace shunt
