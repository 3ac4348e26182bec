// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/flow_tap.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/limits.h"
#include "unit/sniff/tls_samples.h"

namespace shunt {
namespace {

using tls_samples::client_hello;
using tls_samples::server_hello_tls12;
using tls_samples::server_hello_tls13;

class Transcript final : public FlowLog {
 public:
  void http_request(const Flow& /*flow*/, const HttpRequest& request) override {
    said +=
        fmt::format("→{} {} {} {};", request.number, request.method, request.target, request.host);
  }
  void http_response(const Flow& /*flow*/, const HttpResponse& response) override {
    constexpr const char* kEnds[] = {"", " cut", " unseen"};
    said +=
        fmt::format("←{} {} {} {}{};", response.request.number, response.status, response.reason,
                    response.body_bytes, kEnds[static_cast<int>(response.body_end)]);
  }
  void tls_hello(const Flow& /*flow*/, const TlsHello& hello) override {
    said += fmt::format("tls {} [{}] '{}' {:x}{};", hello.server_name,
                        fmt::join(hello.alpn_offered, ","), hello.alpn_chosen, hello.version,
                        hello.ech ? " ech" : "");
  }
  void flow_end(const Flow& /*flow*/, const FlowEnd& /*end*/) override {}

  std::string said;
};

constexpr Side kClient = Side::client;
constexpr Side kUpstream = Side::upstream;

struct Piece {
  Side side;
  std::string bytes;  // "" = FIN
};
using Script = std::vector<Piece>;

/// Plays a conversation in pieces of `size` bytes, splicing what the tap does not want to see.
std::string play(const Script& script, std::size_t size = 1'000'000, bool splice = false) {
  Flow flow;
  flow.started = Clock::now();
  Transcript log;
  const auto tap = make_flow_tap(flow, log);
  for (const Piece& piece : script) {
    if (piece.bytes.empty()) tap->end(piece.side);
    for (std::string_view rest = piece.bytes; !rest.empty();) {
      const auto part = rest.substr(0, size);
      const std::uint64_t unseen = splice ? tap->uninteresting(piece.side) : 0;
      const auto skipped = static_cast<std::size_t>(std::min<std::uint64_t>(unseen, part.size()));
      if (skipped != 0) {
        tap->skip(piece.side, skipped);
      } else {
        tap->observe(piece.side, part);
      }
      rest.remove_prefix(skipped != 0 ? skipped : part.size());
    }
  }
  tap->finish();
  return log.said;
}

struct Conversation {
  const char* name;
  Script script;
  std::string says;
};

const std::string kGet = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

std::vector<Conversation> http_conversations() {
  return {
      {"keep-alive",
       {{kClient, kGet},
        {kUpstream, kOk},
        {kClient, kGet},
        {kUpstream, kOk},
        {kClient, ""},
        {kUpstream, ""}},
       "→1 GET / a.example;←1 200 OK 2;→2 GET / a.example;←2 200 OK 2;"},
      {"pipelining",
       {{kClient, kGet + kGet + "HEAD /h HTTP/1.1\r\n\r\n"},
        {kUpstream, kOk + kOk + "HTTP/1.1 200 Head\r\nContent-Length: 5\r\n\r\n"}},
       "→1 GET / a.example;→2 GET / a.example;→3 HEAD /h ;←1 200 OK 2;←2 200 OK 2;←3 200 Head 0;"},
      {"interim answers",
       {{kClient, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"},
        {kUpstream, "HTTP/1.1 100 Continue\r\n\r\n"},
        {kClient, "abc"},
        {kUpstream, kOk}},
       "→1 POST / ;←1 200 OK 2;"},
      {"answer before the request is complete",
       {{kClient, "PUT / HTTP/1.1\r\nContent-Length: 300\r\n\r\nabc"},
        {kUpstream, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"},
        {kUpstream, ""}},
       "→1 PUT / ;←1 413 Too Large 0;"},
      {"upgrade",
       {{kClient, "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"},
        {kUpstream, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x7f"},
        {kClient, kGet},
        {kUpstream, kOk}},
       "→1 GET /ws ;←1 101 Switching Protocols 0;"},
  };
}

std::vector<Conversation> tunnel_conversations() {
  return {
      {"CONNECT",
       {{kClient, "CONNECT b.example:443 HTTP/1.1\r\n\r\n"},
        {kUpstream, "HTTP/1.1 200 Connected\r\n\r\n"},
        {kClient, kGet},
        {kUpstream, kOk}},
       "→1 CONNECT b.example:443 ;←1 200 Connected 0;"},
      {"CONNECT with eager tunnel bytes",
       {{kClient, "CONNECT b.example:443 HTTP/1.1\r\n\r\n" + kGet},
        {kUpstream, "HTTP/1.1 200 Connected\r\n\r\n"},
        {kUpstream, kOk}},
       "→1 CONNECT b.example:443 ;←1 200 Connected 0;"},
      {"CONNECT turned down, tried again",
       {{kClient, "CONNECT b.example:443 HTTP/1.1\r\n\r\n"},
        {kUpstream, "HTTP/1.1 407 Who?\r\nContent-Length: 1\r\n\r\nx"},
        {kClient, "CONNECT c.example:443 HTTP/1.1\r\n\r\n"},
        {kUpstream, "HTTP/1.1 200 Connected\r\n\r\n"}},
       "→1 CONNECT b.example:443 ;←1 407 Who? 1;→2 CONNECT c.example:443 ;←2 200 Connected 0;"},
  };
}

std::vector<Conversation> ending_conversations() {
  return {
      {"body until close",
       {{kClient, "GET / HTTP/1.0\r\n\r\n"},
        {kUpstream, "HTTP/1.0 200 OK\r\n\r\n12345"},
        {kUpstream, ""}},
       "→1 GET / ;←1 200 OK 5;"},
      {"body until a reset",
       {{kClient, "GET / HTTP/1.0\r\n\r\n"}, {kUpstream, "HTTP/1.0 200 OK\r\n\r\n12345"}},
       "→1 GET / ;←1 200 OK 5 cut;"},
      {"body cut by a close",
       {{kClient, kGet},
        {kUpstream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12345"},
        {kUpstream, ""}},
       "→1 GET / a.example;←1 200 OK 5 cut;"},
      {"chunks cut by a reset",
       {{kClient, kGet},
        {kUpstream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123"}},
       "→1 GET / a.example;←1 200 OK 3 cut;"},
      {"client that ends early",
       {{kClient, kGet}, {kClient, ""}, {kUpstream, kOk}, {kUpstream, ""}},
       "→1 GET / a.example;←1 200 OK 2;"},
      {"no answer", {{kClient, kGet}, {kUpstream, ""}}, "→1 GET / a.example;"},
      {"answer to a client that is too slow",
       {{kClient, "GET / HTTP/1.1\r\nHost: a"},
        {kUpstream, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"},
        {kUpstream, ""}},
       "←0 408 Request Timeout 0;"},
      {"junk behind a request",
       {{kClient, kGet + "\x01\x02\x03"}, {kUpstream, kOk}, {kUpstream, kOk}},
       "→1 GET / a.example;←1 200 OK 2;"},
      {"length that cannot be told",
       {{kClient, kGet},
        {kUpstream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi"}},
       "→1 GET / a.example;←1 200 OK 0 unseen;"},
  };
}

std::vector<Conversation> other_conversations() {
  return {
      {"TLS 1.2",
       {{kClient, client_hello("a.example", {"h2", "http/1.1"})},
        {kUpstream, server_hello_tls12("h2") + "rest"}},
       "tls a.example [h2,http/1.1] 'h2' 303;"},
      {"TLS 1.3",
       {{kClient, client_hello("a.example", {"h2"})}, {kUpstream, server_hello_tls13()}},
       "tls a.example [h2] '' 304;"},
      {"TLS without an answer",
       {{kClient, client_hello("a.example", {})}, {kUpstream, ""}},
       "tls a.example [] '' 0;"},
      {"TLS with an alert",
       {{kClient, client_hello("a.example", {})}, {kUpstream, "\x15\x03\x03"}},
       "tls a.example [] '' 0;"},
      {"TLS hello cut",
       {{kClient, client_hello("a.example", {}).substr(0, 60)}, {kClient, ""}},
       ""},
      {"alert within the hello",
       {{kClient, client_hello("a.example", {}).substr(0, 60)}, {kUpstream, "\x15\x03\x03"}},
       ""},
      {"server first",
       {{kUpstream, "220 mail.example\r\n"}, {kClient, kGet}, {kUpstream, kOk}},
       ""},
      {"no HTTP", {{kClient, "SSH-2.0-x y\r\n" + kGet}, {kUpstream, kOk}}, ""},
      {"nothing at all", {{kClient, ""}, {kUpstream, ""}}, ""},
  };
}

class FlowTap : public ::testing::TestWithParam<Conversation> {};

TEST_P(FlowTap, says_the_same_however_the_bytes_are_cut) {
  const Conversation& conversation = GetParam();
  for (std::size_t size = 1; size < 200; ++size) {
    EXPECT_EQ(play(conversation.script, size), conversation.says) << size;
    EXPECT_EQ(play(conversation.script, size, true), conversation.says) << size << " spliced";
  }
  EXPECT_EQ(play(conversation.script), conversation.says);
  EXPECT_EQ(play(conversation.script, 1'000'000, true), conversation.says);
}

std::string test_name(const ::testing::TestParamInfo<Conversation>& info) {
  std::string name = info.param.name;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Http, FlowTap, ::testing::ValuesIn(http_conversations()), test_name);
INSTANTIATE_TEST_SUITE_P(Tunnels, FlowTap, ::testing::ValuesIn(tunnel_conversations()), test_name);
INSTANTIATE_TEST_SUITE_P(Endings, FlowTap, ::testing::ValuesIn(ending_conversations()), test_name);
INSTANTIATE_TEST_SUITE_P(Others, FlowTap, ::testing::ValuesIn(other_conversations()), test_name);

class FlowTapLimits : public ::testing::Test {
 protected:
  std::uint64_t unseen(Side side) { return tap_->uninteresting(side); }

  Flow flow_;
  Transcript log_;
  std::unique_ptr<Tap> tap_ = make_flow_tap(flow_, log_);
};

TEST_F(FlowTapLimits, stops_looking_at_a_protocol_it_does_not_know) {
  tap_->observe(kClient, "\x01\x02");
  EXPECT_EQ(unseen(kClient), Tap::kEverything);
  EXPECT_EQ(unseen(kUpstream), Tap::kEverything);
}

TEST_F(FlowTapLimits, stops_looking_after_the_hellos) {
  tap_->observe(kClient, client_hello("a.example", {}));
  EXPECT_EQ(unseen(kClient), Tap::kEverything);
  EXPECT_EQ(unseen(kUpstream), 0U);
  tap_->observe(kUpstream, server_hello_tls13());
  EXPECT_EQ(unseen(kUpstream), Tap::kEverything);
}

TEST_F(FlowTapLimits, lets_bodies_pass_unseen) {
  tap_->observe(kClient, "PUT / HTTP/1.1\r\nContent-Length: 1000\r\n\r\nab");
  EXPECT_EQ(unseen(kClient), 998U);
  tap_->skip(kClient, 998);
  EXPECT_EQ(unseen(kClient), 0U);
  tap_->observe(kUpstream, "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(unseen(kUpstream), Tap::kEverything - 1);
}

TEST_F(FlowTapLimits, endless_pipelining_ends_the_looking) {
  for (std::size_t i = 0; i < 10 * limits::kHttpPipelinedRequests; ++i) {
    tap_->observe(kClient, kGet);
  }
  EXPECT_EQ(unseen(kClient), Tap::kEverything);
  for (std::size_t i = 0; i < limits::kHttpPipelinedRequests; ++i) tap_->observe(kUpstream, kOk);
  EXPECT_EQ(unseen(kUpstream), Tap::kEverything);
  EXPECT_NE(log_.said.find("←64 200 OK 2;"), std::string::npos);
}

TEST_F(FlowTapLimits, calls_after_the_end_are_harmless) {
  tap_->observe(kClient, kGet);
  tap_->finish();
  tap_->finish();
  tap_->end(kUpstream);
  tap_->skip(kClient, 5);
  tap_->observe(kUpstream, kOk);
  EXPECT_EQ(log_.said, "→1 GET / a.example;");
  EXPECT_EQ(unseen(kUpstream), Tap::kEverything);
}

TEST_F(FlowTapLimits, random_conversations_are_survived) {
  const std::string words[] = {kGet,
                               kOk,
                               "\r\n",
                               "HTTP/1.1 101 X\r\n\r\n",
                               "\x16\x03\x01",
                               "Transfer-Encoding: chunked\r\n",
                               "5\r\n",
                               "0\r\n\r\n",
                               "POST / HTTP/1.1\r\n",
                               "CONNECT x HTTP/1.1\r\n\r\n"};
  std::mt19937 random(3);
  for (int round = 0; round < 5'000; ++round) {
    auto tap = make_flow_tap(flow_, log_);
    for (int i = 0; i < 20; ++i) {
      const Side side = random() % 2 == 0 ? kClient : kUpstream;
      if (random() % 8 == 0) tap->skip(side, std::min<std::uint64_t>(tap->uninteresting(side), 7));
      if (random() % 50 == 0) tap->end(side);
      tap->observe(side, words[random() % std::size(words)]);
    }
    tap->finish();
  }
}

}  // namespace
}  // namespace shunt
