// SPDX-License-Identifier: GPL-2.0-only
#include "egress/wire/socks4.h"

#include <gtest/gtest.h>

namespace shunt::socks4 {
namespace {

using namespace std::string_literals;

const Endpoint kIpv4 = *Endpoint::parse("192.0.2.7:80");
const Endpoint kIpv6 = *Endpoint::parse("[2001:db8::7]:80");

// The layouts of the two documents, field by field.
TEST(Socks4Wire, a_request_names_an_address_or_a_domain) {
  EXPECT_EQ(request("", "", kIpv4), "\x04\x01\x00\x50\xc0\x00\x02\x07\x00"s);
  EXPECT_EQ(request("alice", "", kIpv4), "\x04\x01\x00\x50\xc0\x00\x02\x07"s + "alice\0"s);
  EXPECT_EQ(request("alice", "www.shunt.example", kIpv6),
            "\x04\x01\x00\x50\x00\x00\x00\x01"s + "alice\0www.shunt.example\0"s);
}

TEST(Socks4Wire, what_does_not_fit_is_no_request) {
  EXPECT_FALSE(request("", "", kIpv6));
  EXPECT_FALSE(request("a\0b"s, "", kIpv4));
  EXPECT_FALSE(request("", "a\0b"s, kIpv4));
  EXPECT_FALSE(request(std::string(256, 'a'), "", kIpv4));
}

TEST(Socks4Wire, every_split_of_a_reply_gives_the_same_answer) {
  for (const char version : {'\x00', '\x04'}) {
    const std::string reply = version + "\x5a\x00\x50\xc0\x00\x02\x07"s;
    for (std::size_t size = 0; size < reply.size(); ++size) {
      const auto part = decode_reply(std::string_view(reply).substr(0, size));
      EXPECT_FALSE(part.complete() || part.malformed()) << size;
    }
    const auto whole = decode_reply(reply + "220 ready");
    ASSERT_TRUE(whole.complete());
    EXPECT_EQ(whole.value, ReplyCode::granted);
    EXPECT_EQ(whole.size, kLongestMessage);
  }
}

TEST(Socks4Wire, another_version_is_told_from_the_first_byte) {
  EXPECT_TRUE(decode_reply("\x05").malformed());
  EXPECT_TRUE(decode_reply("HTTP/1.1 400").malformed());
}

}  // namespace
}  // namespace shunt::socks4
