// SPDX-License-Identifier: GPL-2.0-only
#include "capture/syn_packet.h"

#include <gtest/gtest.h>

#include <string>

namespace shunt {
namespace {

using namespace std::string_literals;

const std::string kSyn = "\xc0\x00\x01\xbb\x01\x02\x03\x04\x00\x00\x00\x00\x50\x02"s;
const std::string kSynAck = "\xc0\x00\x01\xbb\x01\x02\x03\x04\x00\x00\x00\x00\x50\x12"s;

std::string ipv4(const std::string& payload, char protocol = 6, const std::string& options = "",
                 const std::string& fragment = "\0\0"s) {
  const char first = static_cast<char>(0x45 + options.size() / 4);
  return first + "\0\0\x28\0\0"s + fragment + "\x40"s + protocol + "\0\0"s + "\xc0\x00\x02\x01"s +
         "\xc6\x33\x64\x02"s + options + payload;
}

std::string ipv6(const std::string& payload, char next = 6) {
  const std::string source = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01";
  const std::string destination = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x02";
  return "\x60\0\0\0\0\x14"s + next + "\x40"s + source + destination + payload;
}

TEST(TcpHead, of_an_ipv4_syn) {
  const auto head = tcp_head(ipv4(kSyn));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->source, *Endpoint::parse("192.0.2.1:49152"));
  EXPECT_EQ(head->destination, *Endpoint::parse("198.51.100.2:443"));
  EXPECT_EQ(head->sequence, 0x01020304U);
  EXPECT_TRUE(head->syn);
}

TEST(TcpHead, behind_ip_options) {
  EXPECT_EQ(tcp_head(ipv4(kSyn, 6, std::string(8, '\x01'))), tcp_head(ipv4(kSyn)));
}

TEST(TcpHead, of_an_ipv6_syn) {
  const auto head = tcp_head(ipv6(kSyn));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->source, *Endpoint::parse("[2001:db8::1]:49152"));
  EXPECT_EQ(head->destination, *Endpoint::parse("[2001:db8::2]:443"));
  EXPECT_TRUE(head->syn);
}

TEST(TcpHead, behind_extension_headers) {
  const std::string options = "\x2b\x01"s + std::string(14, '\0');     // hop by hop, 16 bytes
  const std::string routing = "\x3c\0"s + std::string(6, '\0');        // 8 bytes
  const std::string destination = "\x2c\0"s + std::string(6, '\0');    // 8 bytes
  const std::string fragment = "\x06\0\0\x01"s + std::string(4, 'i');  // the first of several
  EXPECT_EQ(tcp_head(ipv6(options + routing + destination + fragment + kSyn, 0)),
            tcp_head(ipv6(kSyn)));
}

TEST(TcpHead, of_another_segment_is_no_syn) {
  const auto head = tcp_head(ipv4(kSynAck));
  ASSERT_TRUE(head.has_value());
  EXPECT_FALSE(head->syn);
}

TEST(TcpHead, of_a_later_fragment_or_another_protocol_is_none) {
  EXPECT_FALSE(tcp_head(ipv4(kSyn, 6, "", "\x20\x01"s)).has_value());
  EXPECT_FALSE(tcp_head(ipv4(kSyn, 17)).has_value());
  EXPECT_FALSE(tcp_head(ipv6("\x06\0\0\x08"s + std::string(4, 'i') + kSyn, 44)).has_value());
  EXPECT_FALSE(tcp_head(ipv6(kSyn, 17)).has_value());
  EXPECT_FALSE(tcp_head("\x50"s + std::string(100, '\0')).has_value());
}

TEST(TcpHead, of_bytes_that_end_too_early_is_none) {
  for (const std::string& whole : {ipv4(kSyn), ipv6(kSyn)}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_FALSE(tcp_head(std::string_view(whole).substr(0, size)).has_value()) << size;
    }
  }
}

TEST(TcpHead, behind_endless_extension_headers_is_none) {
  std::string headers;
  for (int i = 0; i < 20; ++i) headers += "\x3c\0"s + std::string(6, '\0');
  EXPECT_FALSE(tcp_head(ipv6(headers + kSyn, 60)).has_value());
}

}  // namespace
}  // namespace shunt
