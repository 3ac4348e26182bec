// SPDX-License-Identifier: GPL-2.0-only
#include "net/raw_udp.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>

namespace shunt {
namespace {

/// The receiver's check: everything that the checksum covers, it included, sums up to all ones.
bool sums_up(std::string bytes) {
  if (bytes.size() % 2 != 0) bytes.push_back('\0');
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i]) << 8 |
                                      static_cast<unsigned char>(bytes[i + 1]));
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

std::string pseudo_header(const Endpoint& source, const Endpoint& destination, char protocol,
                          std::size_t length) {
  std::string out;
  out.append(source.address.bytes()).append(destination.address.bytes());
  out.push_back('\0');
  out.push_back(protocol);
  out.push_back(static_cast<char>(length >> 8));
  out.push_back(static_cast<char>(length));
  return out;
}

struct Case {
  Endpoint client;
  Endpoint destination;
};

class RawUdpTest : public testing::TestWithParam<Family> {
 protected:
  Case ends() const {
    if (GetParam() == Family::ipv4) {
      return {*Endpoint::parse("192.0.2.7:40000"), *Endpoint::parse("198.51.100.9:53")};
    }
    return {*Endpoint::parse("[2001:db8::7]:40000"), *Endpoint::parse("[2001:db8:1::9]:53")};
  }
};
INSTANTIATE_TEST_SUITE_P(, RawUdpTest, testing::Values(Family::ipv4, Family::ipv6),
                         [](const auto& family) {
                           return family.param == Family::ipv4 ? "ipv4" : "ipv6";
                         });

TEST_P(RawUdpTest, udp_checksum_satisfies_the_receiver_for_every_length) {
  const auto [client, destination] = ends();
  std::string payload;
  for (int size = 0; size < 70; ++size) {
    const UdpHeader header = udp_header(destination, client, payload);
    std::string bytes = pseudo_header(destination, client, 17, 8 + payload.size());
    bytes.append(reinterpret_cast<const char*>(&header), sizeof header).append(payload);
    EXPECT_TRUE(sums_up(bytes)) << size;
    EXPECT_EQ(ntohs(header.source_port), 53);
    EXPECT_EQ(ntohs(header.destination_port), 40000);
    EXPECT_EQ(ntohs(header.length), 8 + size);
    payload.push_back(static_cast<char>(size * 37 + 200));
  }
}

TEST_P(RawUdpTest, udp_checksum_is_never_the_zero_that_means_none) {
  const auto [client, destination] = ends();
  const UdpHeader empty = udp_header(destination, client, std::string_view("\0\0", 2));
  const std::string balancing(reinterpret_cast<const char*>(&empty.checksum), 2);
  EXPECT_EQ(udp_header(destination, client, balancing).checksum, 0xffff);
}

TEST_P(RawUdpTest, icmp_error_quotes_the_datagram_that_it_answers) {
  const auto [client, destination] = ends();
  const bool v4 = GetParam() == Family::ipv4;
  const std::string packet = icmp_error(Undeliverable::port, client, destination, 0);
  const std::size_t ip = v4 ? 20 : 40;
  ASSERT_EQ(packet.size(), ip + 8 + ip + 8);
  if (v4) EXPECT_TRUE(sums_up(packet.substr(0, ip)));
  std::string icmp = packet.substr(ip);
  EXPECT_EQ(icmp[0], v4 ? 3 : 1);
  EXPECT_EQ(icmp[1], v4 ? 3 : 4);
  const std::string quoted = icmp.substr(8);
  EXPECT_EQ(quoted.substr(ip - 2 * client.address.bytes().size(), client.address.bytes().size()),
            client.address.bytes());
  std::uint16_t port = 0;
  std::memcpy(&port, quoted.data() + ip + 2, sizeof port);
  EXPECT_EQ(ntohs(port), destination.port);
  if (!v4) icmp = pseudo_header(destination, client, 58, icmp.size()) + icmp;
  EXPECT_TRUE(sums_up(icmp));
}

TEST_P(RawUdpTest, too_big_names_the_mtu_where_its_rfc_puts_it) {
  const auto [client, destination] = ends();
  const bool v4 = GetParam() == Family::ipv4;
  const std::string packet = icmp_error(Undeliverable::too_big, client, destination, 1400);
  std::uint16_t mtu = 0;
  std::memcpy(&mtu, packet.data() + (v4 ? 20 : 40) + 6, sizeof mtu);
  EXPECT_EQ(ntohs(mtu), 1400);
  EXPECT_EQ(packet[v4 ? 20 : 40], v4 ? 3 : 2);
}

}  // namespace
}  // namespace shunt
