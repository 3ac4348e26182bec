// SPDX-License-Identifier: GPL-2.0-only
#include "flow/proxy_protocol.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"

namespace shunt::proxy_protocol {
namespace {

using Status = Decoded<Header>::Status;
using namespace std::string_literals;

constexpr const char* kSignature = "\r\n\r\n\0\r\nQUIT\n";

std::string signature() { return {kSignature, 12}; }

Header between(const char* source, const char* destination) {
  return {.source = *Endpoint::parse(source), .destination = *Endpoint::parse(destination)};
}

std::string v2(char command, char family, const std::string& body) {
  return signature() + command + family + static_cast<char>(body.size() >> 8) +
         static_cast<char>(body.size() & 0xff) + body;
}

const std::string kBlock4 = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x01\xbb"s;

// RFC 9260 appendix A has no vectors; these are RFC 3720 B.4's (iSCSI), most significant byte last.
TEST(Crc32c, gives_the_published_values) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c("6789", crc32c("12345")), 0xe3069283U);
}

// The examples of section 2.1.
TEST(ProxyProtocolWire, version_1_is_a_line_of_text) {
  EXPECT_EQ(encode_v1(between("255.255.255.255:65535", "255.255.255.255:65535")),
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n");
  EXPECT_EQ(encode_v1(between("[2001:db8::1]:1", "[2001:db8::2]:443")),
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n");
  EXPECT_EQ(encode_v1(between("192.0.2.1:1", "[2001:db8::2]:443")),
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 443\r\n");
}

TEST(ProxyProtocolWire, the_longest_line_of_version_1_fits) {
  const std::string line =
      "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
  ASSERT_EQ(line.size(), kLongestV1);
  const auto header = decode(line + "GET /");
  ASSERT_TRUE(header.complete());
  EXPECT_TRUE(header.value.local);
  EXPECT_EQ(header.size, kLongestV1);
}

TEST(ProxyProtocolWire, version_2_says_who_and_where_in_binary) {
  const std::string header = encode_v2(between("192.0.2.1:40000", "198.51.100.2:443"));
  EXPECT_EQ(header.substr(0, 28), signature() + "\x21\x11\x00\x13"s + kBlock4);
  EXPECT_EQ(header.substr(28, 3), "\x03\x00\x04"s);  // then its checksum
  EXPECT_EQ(header.size(), 35U);
}

TEST(ProxyProtocolWire, what_is_encoded_is_decoded) {
  const std::string unique(kLongestUniqueId, 'u');
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
    for (const auto* destination : {"198.51.100.2:53", "[2001:db8::2]:53"}) {
      Header sent = between("192.0.2.1:40000", destination);
      sent.protocol = protocol;
      sent.authority = "www.shunt.example";
      sent.alpn = "h2";
      sent.unique_id = unique;
      const std::string bytes = encode_v2(sent);
      const std::string received = bytes + "payload";  // what is decoded lies in there
      const auto got = decode(received);
      ASSERT_TRUE(got.complete());
      EXPECT_EQ(got.size, bytes.size());
      EXPECT_EQ(got.value.protocol, protocol);
      EXPECT_EQ(got.value.source, sent.source);
      EXPECT_EQ(got.value.destination, sent.destination);
      EXPECT_EQ(got.value.authority, sent.authority);
      EXPECT_EQ(got.value.alpn, sent.alpn);
      EXPECT_EQ(got.value.unique_id, unique);
      EXPECT_TRUE(got.value.has_checksum);
      EXPECT_FALSE(got.value.local);
    }
  }
}

TEST(ProxyProtocolWire, every_split_of_a_header_gives_the_same_answer) {
  Header header = between("192.0.2.1:40000", "[2001:db8::2]:443");
  header.authority = "www.shunt.example";
  for (const std::string& bytes :
       {encode_v1(header), encode_v2(header), "PROXY UNKNOWN\r\n"s, v2('\x20', 0, "")}) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(decode(bytes.substr(0, size)).status, Status::need_more) << size;
    }
    EXPECT_TRUE(decode(bytes).complete());
  }
}

TEST(ProxyProtocolWire, texts_that_are_too_long_are_left_out) {
  const std::string text(kLongestText + 1, 'x');
  Header header = between("192.0.2.1:1", "192.0.2.2:2");
  header.authority = header.alpn = header.unique_id = text;
  const std::string bytes = encode_v2(header);
  EXPECT_EQ(bytes, encode_v2(between("192.0.2.1:1", "192.0.2.2:2")));
}

TEST(ProxyProtocolWire, a_local_connection_counts_as_its_senders) {
  Header header;
  header.local = true;
  for (const std::string& bytes :
       {encode_v1(header), encode_v2(header), v2('\x20', '\x11', kBlock4),
        v2('\x20', '\x7f', "whatever"), v2('\x21', '\x00', ""),
        v2('\x21', '\x31', std::string(216, 0))}) {
    const auto got = decode(bytes);
    ASSERT_TRUE(got.complete());
    EXPECT_TRUE(got.value.local);
    EXPECT_EQ(got.size, bytes.size());
  }
}

TEST(ProxyProtocolWire, unknown_and_padding_tlvs_are_passed_over) {
  const std::string bytes =
      v2('\x21', '\x11',
         kBlock4 + "\x04\x00\x03xyz"s + "\xe5\x00\x01z"s + "\x04\x00\x00"s + "\x02\x00\x01h"s);
  const auto got = decode(bytes);
  ASSERT_TRUE(got.complete());
  EXPECT_EQ(got.value.authority, "h");
  EXPECT_FALSE(got.value.has_checksum);
}

TEST(ProxyProtocolWire, a_wrong_checksum_is_malformed) {
  const std::string good = encode_v2(between("192.0.2.1:40000", "198.51.100.2:443"));
  for (std::size_t at = 16; at < good.size(); ++at) {
    if (at >= 28 && at < 31) continue;  // another type or length of the TLV is another matter
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_TRUE(decode(bad).malformed()) << at;
  }
}

TEST(ProxyProtocolWire, version_1_is_taken_strictly) {
  for (const char* line : {
           "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
           "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
           "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
           "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
           "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
           "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
           "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rx",
           "PROXY \r\n",
           "proxy TCP4",
           "GET / HTTP/1.1\r\n",
           "\r\n\r\n\x01",
       }) {
    EXPECT_TRUE(decode(line).malformed()) << line;
  }
  EXPECT_TRUE(decode("PROXY TCP4 " + std::string(kLongestV1, '1')).malformed());
}

TEST(ProxyProtocolWire, version_2_is_taken_strictly) {
  const std::string cases[] = {
      v2('\x31', '\x11', kBlock4),                       // version 3
      v2('\x22', '\x11', kBlock4),                       // no such command
      v2('\x21', '\x41', kBlock4),                       // no such family
      v2('\x21', '\x13', kBlock4),                       // no such transport
      v2('\x21', '\x11', kBlock4.substr(1)),             // shorter than its addresses
      v2('\x21', '\x21', kBlock4),                       // the same
      v2('\x21', '\x11', kBlock4 + "\x04\x00"s),         // half a TLV
      v2('\x21', '\x11', kBlock4 + "\x04\x00\x05xyz"s),  // one that is longer than the header
      v2('\x21', '\x11', kBlock4 + "\x03\x00\x02xy"s),   // a checksum of two bytes
      v2('\x21', '\x11', kBlock4 + "\x05\x00\x81"s + std::string(129, 'u')),
  };
  for (const auto& bytes : cases) EXPECT_TRUE(decode(bytes).malformed()) << &bytes - cases;
}

TEST(ProxyProtocolWire, an_oversize_header_is_told_from_its_first_bytes) {
  EXPECT_TRUE(decode(signature() + "\x21\x11\xff\xff"s).malformed());
  const auto longest = v2('\x21', '\x11', kBlock4 + "\x04\x0f\xe1"s + std::string(0x0fe1, 0));
  EXPECT_EQ(longest.size(), kLongestHeader);
  EXPECT_TRUE(decode(longest).complete());
}

}  // namespace
}  // namespace shunt::proxy_protocol
