// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/identify.h"

#include <gtest/gtest.h>

#include <random>

#include "base/limits.h"
#include "unit/sniff/tls_samples.h"

namespace shunt {
namespace {

using tls_samples::client_hello;
using State = NamePeek::State;

TEST(Identify, tells_protocols_apart) {
  EXPECT_EQ(identify("GET / HTTP/1.1\r\n"), FirstBytes::http1);
  EXPECT_EQ(identify("\r\nPROPFIND /x HTTP/1.0\n"), FirstBytes::http1);
  EXPECT_EQ(identify(client_hello("a.example", {})), FirstBytes::tls);
  for (const char* text :
       {"SSH-2.0-OpenSSH_9.2p1\r\n", "EHLO a.example\r\n", "\x16\x02", "\x80\x2e",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "*1\r\n$4\r\nPING\r\n", "\x16\x03\x01\x01\x01\x02"}) {
    EXPECT_EQ(identify(text), FirstBytes::other) << text;
  }
}

TEST(Identify, waits_for_more_where_a_prefix_fits) {
  const std::string get = "GET /path HTTP/1.1\r\n";
  for (std::size_t size = 0; size < get.size(); ++size) {
    EXPECT_EQ(identify(get.substr(0, size)), FirstBytes::need_more) << size;
  }
  const std::string hello = client_hello("a.example", {});
  for (std::size_t size = 0; size < 6; ++size) {
    EXPECT_EQ(identify(hello.substr(0, size)), FirstBytes::need_more) << size;
  }
  EXPECT_EQ(identify(std::string("G ") + std::string(limits::kHttpHeadBytes, 'x')),
            FirstBytes::other);
}

TEST(PeekName, finds_the_host_of_a_request) {
  const auto peek = peek_name("GET / HTTP/1.1\r\nHost: WWW.Example.COM.:8080\r\n\r\nbody");
  EXPECT_EQ(peek.state, State::match);
  EXPECT_EQ(peek.name, "www.example.com");
  EXPECT_EQ(peek.source, NameSource::http_host);
  EXPECT_EQ(peek_name("CONNECT c.example:443 HTTP/1.1\r\n\r\n").name, "c.example");
  EXPECT_EQ(peek_name("GET http://a.example/ HTTP/1.1\r\nHost: A.example\r\n\r\n").name,
            "a.example");
  EXPECT_EQ(peek_name("GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n").name, "");
}

TEST(PeekName, finds_the_server_name_of_a_hello) {
  const auto peek = peek_name(client_hello("Www.Example.Com", {"h2"}));
  EXPECT_EQ(peek.state, State::match);
  EXPECT_EQ(peek.name, "www.example.com");
  EXPECT_EQ(peek.source, NameSource::tls_sni);
  EXPECT_FALSE(peek.ech);
}

TEST(PeekName, needs_more_up_to_the_last_byte) {
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
                                   client_hello("a.example", {"h2"})}) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(peek_name(bytes.substr(0, size)).state, State::need_more) << size;
    }
    EXPECT_EQ(peek_name(bytes).name, "a.example");
  }
}

TEST(PeekName, what_no_host_can_be_called_is_none) {
  for (const std::string& host : {std::string("192.0.2.1"), std::string("[2001:db8::1]:80"),
                                  std::string(""), std::string("a b"), std::string("a..b"),
                                  std::string("a.."), std::string("-\x1b[2J"), std::string("a/b"),
                                  std::string("\xe2\x80\xae"
                                              "example"),
                                  std::string(254, 'a'), std::string(64, 'a')}) {
    EXPECT_EQ(peek_name("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n").state, State::none) << host;
    EXPECT_EQ(peek_name(client_hello(host, {})).state, State::none) << host;
  }
  EXPECT_EQ(peek_name("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").state, State::none);
  EXPECT_EQ(peek_name("GET / HTTP/1.0\r\n\r\n").state, State::none);
  EXPECT_EQ(peek_name("EHLO a.example\r\n").state, State::none);
}

TEST(PeekName, a_full_buffer_never_needs_more) {
  const std::string records = tls_samples::records(
      tls_samples::handshake(1, std::string(limits::kTlsHelloBytes - 4, 'x')), 1);
  EXPECT_EQ(peek_name(std::string_view(records).substr(0, peek_bytes())).state, State::none);
  EXPECT_EQ(peek_name("GET / HTTP/1.1\r\nX: " + std::string(peek_bytes(), 'x')).state, State::none);
}

TEST(PeekName, random_bytes_are_survived) {
  std::mt19937 random(2);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    if (round % 2 == 0) bytes = "\x16\x03\x01" + bytes;
    (void)identify(bytes);
    (void)peek_name(bytes);
  }
}

}  // namespace
}  // namespace shunt
