// SPDX-License-Identifier: GPL-2.0-only
#include "dns/dns_config.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

using Transport = DnsServerAddress::Transport;

DnsConfig remote(const char* server) { return {.mode = DnsMode::remote, .server = server}; }

TEST(DnsServer, has_the_port_of_its_scheme) {
  EXPECT_EQ(parse_dns_server("tls://192.0.2.53")->endpoint.text(), "192.0.2.53:853");
  EXPECT_EQ(parse_dns_server("tcp://2001:db8::53")->endpoint.text(), "[2001:db8::53]:53");
  EXPECT_EQ(parse_dns_server("udp://[2001:db8::53]")->endpoint.text(), "[2001:db8::53]:53");
  EXPECT_EQ(parse_dns_server("udp://[2001:db8::53]:5353")->endpoint.text(), "[2001:db8::53]:5353");
  EXPECT_EQ(parse_dns_server("tls://192.0.2.53")->transport, Transport::tls);
}

TEST(DnsServer, is_an_address) {
  for (const char* text :
       {"", "192.0.2.53", "tls://dns.example", "https://192.0.2.53", "tcp://192.0.2.53:0",
        "tcp://0.0.0.0", "tcp://224.0.0.1", "tcp://", "tcp://192.0.2.53/dns-query"}) {
    EXPECT_FALSE(parse_dns_server(text)) << text;
  }
}

TEST(DnsConfig, contradictions_are_mistakes) {
  EXPECT_TRUE(check_dns({}));
  EXPECT_TRUE(check_dns(remote("tcp://192.0.2.53")));
  EXPECT_TRUE(check_dns({.mode = DnsMode::fake_ip}));
  EXPECT_FALSE(check_dns({.server = "tcp://192.0.2.53"})) << "a server that nobody asks";
  EXPECT_FALSE(check_dns({.via = "wan2"}));
  EXPECT_FALSE(check_dns(remote("")));
  EXPECT_FALSE(check_dns(remote("tcp://dns.example")));
  DnsConfig plain = remote("tcp://192.0.2.53");
  plain.tls_ca = "ca.pem";
  EXPECT_FALSE(check_dns(plain));
  plain.server = "tls://192.0.2.53";
  EXPECT_TRUE(check_dns(plain));
}

TEST(DnsConfig, ranges_are_blocks_that_addresses_can_be_given_from) {
  EXPECT_TRUE(check_dns({.mode = DnsMode::fake_ip, .range4 = "10.9.0.0/30"}));
  for (const char* text : {"10.9.0.0/31", "10.9.0.1", "fd00::/64", "127.0.0.0/8", "0.0.0.0/0",
                           "224.0.0.0/8", "169.254.0.0/16", "x"}) {
    EXPECT_FALSE(check_dns({.mode = DnsMode::fake_ip, .range4 = text})) << text;
  }
  EXPECT_TRUE(check_dns({.mode = DnsMode::fake_ip, .range6 = "fd00:1::/64"}));
  EXPECT_FALSE(check_dns({.mode = DnsMode::fake_ip, .range6 = "198.18.0.0/15"}));
}

TEST(DnsConfig, real_names_are_names) {
  EXPECT_TRUE(check_dns({.mode = DnsMode::fake_ip, .real = {"a.example", "*.b.example"}}));
  for (const char* text : {"", "*.", "a..b", "a.", "*", "*.*.corp", "b\xc3\xbc.example", "~x",
                           "192.168.1.1", "*.192.168.1.1"}) {
    EXPECT_FALSE(check_dns({.mode = DnsMode::fake_ip, .real = {text}})) << text;
  }
}

TEST(DnsNames, pattern_is_a_name_or_all_below_one) {
  const std::vector<std::string> patterns = {"a.example", "*.b.example"};
  EXPECT_TRUE(matches_name(patterns, "a.example"));
  EXPECT_TRUE(matches_name(patterns, "x.y.b.example"));
  for (const char* name : {"x.a.example", "b.example", "xb.example", ".b.example", ""}) {
    EXPECT_FALSE(matches_name(patterns, name)) << name;
  }
}

TEST(DnsNames, local_ones_are_known_around_here_only) {
  for (const char* name :
       {"printer", "printer.local", "localhost", "x.localhost", "nas.home.arpa", "home.arpa",
        "a.internal", "1.1.168.192.in-addr.arpa", "1.0.0.127.in-addr.arpa"}) {
    EXPECT_TRUE(is_local_name(name)) << name;
  }
  for (const char* name : {"", "www.example", "notlocal.example", "local.example",
                           "7.2.0.192.in-addr.arpa", "xhome.arpa"}) {
    EXPECT_FALSE(is_local_name(name)) << name;
  }
}

}  // namespace
}  // namespace shunt
