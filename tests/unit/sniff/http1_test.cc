// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/http1.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/limits.h"

namespace shunt {
namespace {

std::string describe(HttpKind kind, const HttpHead& head) {
  if (kind == HttpKind::request) {
    return fmt::format("[{} {} {}]", head.method, head.target, head.host);
  }
  return fmt::format("[{} {}]", head.status, head.reason);
}

/// Feeds `bytes` and writes down what the parser says.
void feed(Http1Parser& parser, HttpKind kind, std::string_view bytes, Answers answers,
          std::string& said) {
  for (;;) {
    const auto step = parser.feed(bytes, answers);
    bytes.remove_prefix(step.consumed);
    if (step.event == HttpEvent::head) said += describe(kind, step.head);
    if (step.event == HttpEvent::message_end) said += fmt::format("<{}>", parser.body_bytes());
    if (step.event == HttpEvent::stopped) said += "stopped";
    if (step.event == HttpEvent::none) break;
  }
  EXPECT_TRUE(bytes.empty());
}

std::string transcript(HttpKind kind, const std::vector<std::string_view>& pieces,
                       Answers answers = Answers::other) {
  Http1Parser parser(kind);
  std::string said;
  for (const auto piece : pieces) feed(parser, kind, piece, answers, said);
  return said;
}

std::string whole(HttpKind kind, std::string_view text, Answers answers = Answers::other) {
  return transcript(kind, {text}, answers);
}

std::string request(std::string_view text) { return whole(HttpKind::request, text); }
std::string response(std::string_view text, Answers answers = Answers::other) {
  return whole(HttpKind::response, text, answers);
}

/// Shows only what the parser wants to see, as the relay does, in pieces of `size`.
std::string spliced(HttpKind kind, std::string_view text, std::size_t size) {
  Http1Parser parser(kind);
  std::string said;
  while (!text.empty()) {
    const auto skip = static_cast<std::size_t>(
        std::min<std::uint64_t>({parser.uninteresting(), text.size(), size}));
    parser.skip(skip);
    text.remove_prefix(skip);
    if (skip != 0) feed(parser, kind, {}, Answers::other, said);
    const auto piece = text.substr(0, skip == 0 ? size : 0);
    feed(parser, kind, piece, Answers::other, said);
    text.remove_prefix(piece.size());
  }
  return said;
}

struct Sample {
  HttpKind kind;
  std::string_view text;
  std::string_view says;
};

constexpr HttpKind kRequest = HttpKind::request;
constexpr HttpKind kResponse = HttpKind::response;

const Sample kSamples[] = {
    {kRequest, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "[GET / a.example]<0>"},
    {kRequest, "GET /1 HTTP/1.1\nHost:b\n\nGET /2 HTTP/1.0\r\n\r\n", "[GET /1 b]<0>[GET /2 ]<0>"},
    {kRequest, "\r\n\r\nGET / HTTP/1.1\r\nHOST: \t c:81 \r\n\r\n\r\nHEAD /x HTTP/1.1\r\n\r\n",
     "[GET / c:81]<0>[HEAD /x ]<0>"},
    {kRequest, "POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
     "[POST /p ]<5>[GET / ]<0>"},
    {kRequest,
     "PUT /c HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n"
     "0A \r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\nGET /d HTTP/1.1\r\n\r\n",
     "[PUT /c ]<15>[GET /d ]<0>"},
    {kRequest, "GET http://u@h.example:8080/p?q HTTP/1.1\r\nHost: other\r\n\r\n",
     "[GET http://u@h.example:8080/p?q h.example:8080]<0>"},
    {kRequest, "OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
     "[OPTIONS * [2001:db8::1]:80]<0>"},
    {kRequest, "A / HTTP/1.1\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi", "[A / ]<2>"},
    {kResponse, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 204 No Content\r\n\r\n",
     "[200 OK]<3>[204 No Content]<0>"},
    {kRequest, "GET /\x1b[2J\x7f HTTP/1.1\r\nHost: \x1b\x9b\r\n\r\n",
     "[GET /\x1b[2J\x7f \x1b\x9b]<0>"},
    {kResponse, "HTTP/1.1 200 O\x1b[31mK\x01\r\nContent-Length: 0\r\n\r\n",
     "[200 O\x1b[31mK\x01]<0>"},
    {kResponse,
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
     "HTTP/1.1 201\r\nContent-Length: 0\r\n\r\n",
     "[100 Continue]<0>[103 Early Hints]<0>[201 ]<0>"},
    {kResponse,
     "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\nHTTP/1.1 404 \r\n"
     "Content-Length: 1\r\n\r\nx",
     "[304 Not Modified]<0>[404 ]<1>"},
    {kResponse,
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3\nabc\n0\n\nHTTP/1.1 500 No way out\r\nContent-Length: 0\r\n\r\n",
     "[200 OK]<3>[500 No way out]<0>"},
    {kResponse, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
     "[101 Switching Protocols]stopped"},
};

TEST(Http1, says_what_the_messages_are) {
  for (const Sample& sample : kSamples) {
    EXPECT_EQ(whole(sample.kind, sample.text), sample.says) << sample.text;
  }
}

TEST(Http1, every_split_point_gives_the_same_answer) {
  for (const Sample& sample : kSamples) {
    for (std::size_t at = 0; at <= sample.text.size(); ++at) {
      EXPECT_EQ(transcript(sample.kind, {sample.text.substr(0, at), sample.text.substr(at)}),
                sample.says)
          << sample.text << " split at " << at;
    }
  }
}

TEST(Http1, any_cutting_into_pieces_gives_the_same_answer) {
  std::mt19937 random(1);
  for (const Sample& sample : kSamples) {
    for (std::size_t longest = 1; longest < 12; ++longest) {
      std::vector<std::string_view> pieces;
      for (std::string_view rest = sample.text; !rest.empty();) {
        pieces.push_back(rest.substr(0, 1 + random() % longest));
        rest.remove_prefix(pieces.back().size());
      }
      EXPECT_EQ(transcript(sample.kind, pieces), sample.says) << sample.text;
    }
  }
}

TEST(Http1, unseen_bodies_give_the_same_answer) {
  for (const Sample& sample : kSamples) {
    for (std::size_t size = 1; size < 200; size = size * 2 + 1) {
      EXPECT_EQ(spliced(sample.kind, sample.text, size), sample.says) << sample.text;
    }
  }
}

TEST(Http1, head_request_has_no_body_in_its_answer) {
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", Answers::head),
            "[200 OK]<0>");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Answers::head),
            "[200 OK]<0>");
}

TEST(Http1, connect_stops_at_success_only) {
  EXPECT_EQ(response("HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x01", Answers::connect),
            "[200 Connection established]stopped");
  EXPECT_EQ(response("HTTP/1.1 407 Auth\r\nContent-Length: 2\r\n\r\nno", Answers::connect),
            "[407 Auth]<2>");
}

TEST(Http1, body_without_length_ends_with_the_connection) {
  for (const char* head :
       {"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"}) {
    Http1Parser parser(HttpKind::response);
    std::string said;
    feed(parser, HttpKind::response, head, Answers::other, said);
    EXPECT_EQ(parser.uninteresting(), Http1Parser::kEverything - 1);
    parser.skip(1'000'000'000'000);
    feed(parser, HttpKind::response, "HTTP/1.1 200 not a head\r\n\r\n", Answers::other, said);
    parser.end();
    feed(parser, HttpKind::response, {}, Answers::other, said);
    EXPECT_EQ(said, "[200 OK]<1000000000027>");
  }
}

TEST(Http1, contradicting_lengths_stop_it_after_the_head) {
  for (const char* fields :
       {"Content-Length: 1\r\nContent-Length: 2\r\n", "Content-Length: 1, 2\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "Content-Length: -1\r\n",
        "Content-Length: +1\r\n", "Content-Length: 0x1\r\n", "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n", "Content-Length: 9223372036854775807\r\n",
        "Transfer-Encoding: chunked, gzip\r\n", "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"}) {
    EXPECT_EQ(request(fmt::format("GET / HTTP/1.1\r\n{}\r\nx", fields)), "[GET / ]stopped")
        << fields;
    EXPECT_EQ(response(fmt::format("HTTP/1.1 200 OK\r\n{}\r\nx", fields)), "[200 OK]stopped")
        << fields;
  }
  EXPECT_EQ(request("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "[GET / ]stopped");
  EXPECT_EQ(request("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"), "[GET / ]stopped");
}

TEST(Http1, malformed_heads_stop_it) {
  for (const std::string& text :
       {std::string("GET / HTTP/2.0\r\n\r\n"), std::string("GET / HTTP/1.1 \r\n\r\n"),
        std::string("GET HTTP/1.1\r\n\r\n"), std::string("GET  HTTP/1.1\r\n\r\n"),
        std::string("GET /a b HTTP/1.1\r\n\r\n"), std::string("G\"T / HTTP/1.1\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nbad field: x\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost : x\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nno colon\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 27), std::string("EHLO example\r\n"),
        std::string("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), std::string("PING\r\n"),
        std::string("\x00\x01\x02", 3), std::string("{\"json\": 1}"), std::string(40, 'A'),
        std::string("GET /\0 HTTP/1.1\r\n\r\n", 19)}) {
    EXPECT_EQ(request(text), "stopped") << text;
  }
  for (const char* text : {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "220 smtp\r\n",
                           "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/2 200\r\n\r\n", "junk"}) {
    EXPECT_EQ(response(text), "stopped") << text;
  }
}

TEST(Http1, malformed_chunks_stop_it) {
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& body :
       {std::string("g\r\n"), std::string("\r\n"), std::string(";x\r\n"), std::string("5x\r\n"),
        std::string("1\r\nab"), std::string("1\r\na\rb"), std::string("1\rx"),
        std::string("fffffffffffffffff\r\n"), "1;" + std::string(5000, 'x'),
        "0\r\n" + std::string(limits::kHttpHeadBytes + 1, 'x')}) {
    EXPECT_EQ(response(head + body), "[200 OK]stopped") << body.substr(0, 20);
  }
}

TEST(Http1, chunks_of_a_request_that_can_be_read_in_two_ways_stop_it) {
  const std::string head = "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(request(head + "5 \t;a=1\r\nhello\r\n0\r\nX: 1\r\n\r\n"), "[POST /p ]<5>");
  for (const std::string body :
       {"5\nhello\r\n0\r\n\r\n", "5;x\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n", "5\r\nhello\r\n0\r\nX: 1\n\r\n", "5 x\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n"}) {
    EXPECT_EQ(request(head + body), "[POST /p ]stopped") << body;
  }
}

TEST(Http1, a_target_and_a_host_field_that_differ_are_several_hosts) {
  const auto several = [](const std::string& target, const std::string& field) {
    const std::string text = "GET " + target + " HTTP/1.1\r\n" + field + "\r\n\r\n";
    const auto head = parse_http_head(HttpKind::request, text);
    return head && head->several_hosts;
  };
  EXPECT_TRUE(several("http://a.example/", "Host: b.example"));
  EXPECT_TRUE(several("/", "Host: a.example\r\nHost: a.example"));
  EXPECT_TRUE(several("http://a.example/", "Host: a.example\r\nHost: a.example"));
  EXPECT_FALSE(several("http://a.example:80/", "Host: A.example."));
  EXPECT_FALSE(several("http://[2001:db8::1]:80/", "Host: [2001:db8::1]"));
  EXPECT_FALSE(several("http://a.example/", "Host:"));
  EXPECT_FALSE(several("/", "Host: b.example"));
}

TEST(Http1, head_that_is_too_long_stops_it_and_frees_its_memory) {
  const std::string start = "GET / HTTP/1.1\r\nX: ";
  EXPECT_EQ(request(start + std::string(limits::kHttpHeadBytes, 'x')), "stopped");
  const std::string fits = std::string(limits::kHttpHeadBytes - start.size() - 4, 'x');
  EXPECT_EQ(request(start + fits + "\r\n\r\n"), "[GET / ]<0>");
  Http1Parser parser(HttpKind::request);
  std::string said;
  for (const char byte : start + std::string(2 * limits::kHttpHeadBytes, 'x')) {
    feed(parser, HttpKind::request, {&byte, 1}, Answers::other, said);
  }
  EXPECT_EQ(said, "stopped");
  EXPECT_EQ(parser.uninteresting(), Http1Parser::kEverything);
}

TEST(Http1, skipping_more_than_it_allowed_stops_it) {
  Http1Parser parser(HttpKind::request);
  std::string said;
  feed(parser, HttpKind::request, "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", Answers::other,
       said);
  parser.skip(6);
  feed(parser, HttpKind::request, {}, Answers::other, said);
  EXPECT_EQ(said, "[PUT / ]stopped");
}

}  // namespace
}  // namespace shunt
