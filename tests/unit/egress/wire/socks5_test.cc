// SPDX-License-Identifier: GPL-2.0-only
#include "egress/wire/socks5.h"

#include <gtest/gtest.h>

namespace shunt::socks5 {
namespace {

using namespace std::string_literals;

Endpoint endpoint(const char* text) { return *Endpoint::parse(text); }

TEST(Socks5Wire, greeting_offers_what_it_is_told) {
  EXPECT_EQ(greeting(true, false), "\x05\x01\x00"s);
  EXPECT_EQ(greeting(false, true), "\x05\x01\x02"s);
  EXPECT_EQ(greeting(true, true), "\x05\x02\x00\x02"s);
}

TEST(Socks5Wire, request_for_an_ipv4_address) {
  EXPECT_EQ(request(Command::connect, {.domain = {}, .endpoint = endpoint("192.0.2.7:443")}),
            "\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"s);
}

TEST(Socks5Wire, request_for_an_ipv6_address) {
  EXPECT_EQ(
      request(Command::udp_associate, {.domain = {}, .endpoint = endpoint("[2001:db8::1]:53")}),
      "\x05\x03\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x35"s);
}

TEST(Socks5Wire, request_for_a_mapped_address_is_one_for_ipv4) {
  const Endpoint mapped{.address = *Address::parse("::ffff:192.0.2.7"), .port = 443};
  EXPECT_EQ(request(Command::connect, {.domain = {}, .endpoint = mapped}),
            request(Command::connect, {.domain = {}, .endpoint = endpoint("192.0.2.7:443")}));
}

TEST(Socks5Wire, request_for_a_domain_keeps_the_port) {
  EXPECT_EQ(
      request(Command::connect, {.domain = "a.example", .endpoint = endpoint("192.0.2.7:80")}),
      "\x05\x01\x00\x03\x09"s + "a.example" + "\x00\x50"s);
  const std::string longest(255, 'a');
  EXPECT_EQ(
      request(Command::connect, {.domain = longest, .endpoint = endpoint("192.0.2.7:80")}).size(),
      kLongestMessage);
}

TEST(Socks5Wire, password_request_has_both_lengths) {
  EXPECT_EQ(password_request("al", "secret"), "\x01\x02"s + "al" + "\x06" + "secret");
  EXPECT_EQ(password_request("al", ""), "\x01\x02"s + "al" + "\x00"s);
}

TEST(Socks5Wire, method_needs_two_bytes_and_version_5) {
  EXPECT_EQ(decode_method("").status, Decoded<Method>::Status::need_more);
  EXPECT_EQ(decode_method("\x05").status, Decoded<Method>::Status::need_more);
  EXPECT_TRUE(decode_method("H").malformed());
  const auto method = decode_method("\x05\x02rest");
  ASSERT_TRUE(method.complete());
  EXPECT_EQ(method.value, Method::password);
  EXPECT_EQ(method.size, 2U);
}

TEST(Socks5Wire, every_split_of_a_reply_gives_the_same_answer) {
  const std::string replies[] = {
      "\x05\x00\x00\x01\xc0\x00\x02\x07\x01\xbb"s,
      "\x05\x00\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x35"s,
      "\x05\x00\x00\x03\x09"s + "a.example" + "\x00\x50"s,
      "\x05\x00\x00\x03\x00\x00\x50"s,
  };
  for (const auto& whole : replies) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_EQ(decode_reply(whole.substr(0, size)).status, Decoded<Reply>::Status::need_more);
    }
    const auto reply = decode_reply(whole + "early data");
    ASSERT_TRUE(reply.complete());
    EXPECT_EQ(reply.size, whole.size());
    EXPECT_EQ(reply.value.code, ReplyCode::succeeded);
  }
  EXPECT_EQ(decode_reply(replies[0]).value.bound, endpoint("192.0.2.7:443"));
  EXPECT_EQ(decode_reply(replies[1]).value.bound, endpoint("[2001:db8::1]:53"));
  EXPECT_EQ(decode_reply(replies[2]).value.bound, std::nullopt);
}

TEST(Socks5Wire, a_failure_is_complete_with_its_code) {
  for (int code = 1; code < 256; ++code) {
    const auto reply = decode_reply("\x05"s + static_cast<char>(code));
    ASSERT_TRUE(reply.complete()) << code;
    EXPECT_EQ(static_cast<int>(reply.value.code), code);
  }
}

TEST(Socks5Wire, refuses_an_unknown_address_type_in_a_success) {
  EXPECT_TRUE(decode_reply("\x05\x00\x00\x02"s).malformed());
  EXPECT_TRUE(decode_reply("\x04\x5a"s).malformed());
}

TEST(Socks5Wire, udp_header_round_trip) {
  for (const char* text : {"192.0.2.7:443", "[2001:db8::1]:53", "0.0.0.0:0", "[::]:65535"}) {
    const std::string datagram = udp_header(endpoint(text)) + "payload";
    const auto packet = decode_udp(datagram);
    ASSERT_TRUE(packet.has_value()) << text;
    EXPECT_EQ(packet->fragment, 0);
    EXPECT_EQ(packet->endpoint, endpoint(text));
    EXPECT_EQ(packet->payload, "payload");
  }
  const auto domain = "\0\0\0\x03\x01"s + "a" + "\x00\x35"s + "payload";
  ASSERT_TRUE(decode_udp(domain).has_value());
  EXPECT_EQ(decode_udp(domain)->endpoint, std::nullopt);
  EXPECT_EQ(decode_udp(domain)->payload, "payload");
}

TEST(Socks5Wire, a_short_udp_header_is_no_packet) {
  const std::string datagram = udp_header(endpoint("192.0.2.7:443"));
  for (std::size_t size = 0; size < datagram.size(); ++size) {
    EXPECT_FALSE(decode_udp(datagram.substr(0, size)).has_value()) << size;
  }
  EXPECT_TRUE(decode_udp(datagram)->payload.empty());
}

}  // namespace
}  // namespace shunt::socks5
