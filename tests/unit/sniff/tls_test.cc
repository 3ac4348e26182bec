// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "unit/sniff/tls_samples.h"

namespace shunt {
namespace {

using namespace tls_samples;  // NOLINT(google-build-using-namespace)
using State = TlsHelloReader::State;
using ::testing::ElementsAre;

std::optional<ClientHello> read_client(const std::vector<std::string_view>& pieces) {
  TlsHelloReader reader(TlsMessage::client_hello);
  State state = State::need_more;
  for (const auto piece : pieces) state = reader.feed(piece);
  if (state != State::complete) return {};
  return parse_client_hello(reader.body());
}

std::optional<ServerHello> read_server(std::string_view bytes) {
  TlsHelloReader reader(TlsMessage::server_hello);
  if (reader.feed(bytes) != State::complete) return {};
  return parse_server_hello(reader.body());
}

TEST(Tls, client_hello_gives_name_and_protocols) {
  const auto hello = read_client({client_hello("www.example.com", {"h2", "http/1.1"})});
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->server_name, "www.example.com");
  EXPECT_THAT(hello->alpn, ElementsAre("h2", "http/1.1"));
  EXPECT_FALSE(hello->ech);
}

TEST(Tls, every_split_point_and_record_size_gives_the_same_answer) {
  const std::string message =
      client_hello_message(server_name("www.example.com") + alpn({"h2"}) + extension(0xfe0d, "e"));
  for (std::size_t record_size = 1; record_size < message.size() + 2; record_size += 7) {
    const std::string bytes = records(message, record_size) + "later bytes";
    for (std::size_t at = 0; at <= bytes.size(); ++at) {
      const std::string_view view = bytes;
      const auto hello = read_client({view.substr(0, at), view.substr(at)});
      ASSERT_TRUE(hello) << at;
      EXPECT_EQ(hello->server_name, "www.example.com");
      EXPECT_THAT(hello->alpn, ElementsAre("h2"));
      EXPECT_TRUE(hello->ech);
    }
  }
}

TEST(Tls, incomplete_hello_needs_more) {
  const std::string bytes = client_hello("www.example.com", {"h2"});
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    TlsHelloReader reader(TlsMessage::client_hello);
    EXPECT_EQ(reader.feed(bytes.substr(0, size)), State::need_more) << size;
  }
}

TEST(Tls, server_hello_gives_the_choice_where_it_is_in_clear) {
  const auto tls12 = read_server(server_hello_tls12("h2"));
  ASSERT_TRUE(tls12);
  EXPECT_EQ(tls12->version, 0x0303);
  EXPECT_EQ(tls12->alpn, "h2");
  const auto tls13 = read_server(server_hello_tls13());
  ASSERT_TRUE(tls13);
  EXPECT_EQ(tls13->version, 0x0304);
  EXPECT_EQ(tls13->alpn, "");
}

TEST(Tls, hello_without_extensions_is_valid) {
  const std::string body = "\x03\x01" + std::string(32, 'r') + vector(1, "") + vector(2, "\1\2") +
                           vector(1, std::string(1, '\0'));
  const auto hello = read_client({records(handshake(1, body))});
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->server_name, "");
}

TEST(Tls, what_is_no_hello_stops_it) {
  const std::string zero_record("\x16\x03\x01\0\0", 5);
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1"), std::string("\x15\x03\x01"), std::string("\x16\x02"),
        zero_record, std::string("\x16\x03\x01\x41"), std::string("\x16\x03\x01\x40\x01"),
        std::string("\x16\x03\x01\0\x05\x02", 6)}) {
    TlsHelloReader reader(TlsMessage::client_hello);
    EXPECT_EQ(reader.feed(bytes), State::stopped) << bytes;
    EXPECT_EQ(reader.feed(client_hello("a.example", {})), State::stopped);
  }
}

TEST(Tls, minor_version_of_a_record_is_ignored) {
  std::string bytes = client_hello("www.example.com", {});
  bytes[2] = static_cast<char>(0x99);
  const auto hello = read_client({bytes});
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->server_name, "www.example.com");
}

TEST(Tls, hello_that_announces_too_much_stops_it_at_once) {
  TlsHelloReader reader(TlsMessage::client_hello);
  EXPECT_EQ(reader.feed(std::string("\x16\x03\x01\x40\x00\x01\xff\xff\xff", 9)), State::stopped);
  const std::string large(limits::kTlsHelloBytes - 200, 'p');
  const auto fits = read_client(
      {records(client_hello_message(extension(21, large) + server_name("late.example")))});
  ASSERT_TRUE(fits);
  EXPECT_EQ(fits->server_name, "late.example");
}

TEST(Tls, every_truncated_or_changed_body_is_survived) {
  const std::string message =
      client_hello_message(server_name("www.example.com") + alpn({"h2", "http/1.1"}));
  const std::string body = message.substr(4);
  for (std::size_t size = 0; size < body.size(); ++size) {
    EXPECT_FALSE(parse_client_hello(std::string_view(body).substr(0, size)) && size > 75) << size;
    for (const int value : {0, 1, 0x7f, 0xff}) {
      std::string changed = body;
      changed[size] = static_cast<char>(value);
      (void)parse_client_hello(changed);
      (void)parse_server_hello(changed);
    }
  }
}

TEST(Tls, list_of_protocols_is_bounded) {
  const auto hello = read_client({client_hello("a.example", std::vector<std::string>(500, "x"))});
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->alpn.size(), limits::kTlsAlpnNames);
}

}  // namespace
}  // namespace shunt
