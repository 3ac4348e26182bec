// SPDX-License-Identifier: GPL-2.0-only
#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "unit/config/config_fixture.h"

namespace shunt {
namespace {

using test::mistakes;
using test::parsed;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* kEveryTable = R"(
version = 1
[capture]
lan = ["br-lan", "eth1"]
host = true
loopback = true
method = "redirect"
exclude = ["to 192.168.0.0/16", 'proto udp port 123']
on-exit = "closed"
masquerade = true
[listen.web]
address = ["192.0.2.1:8443", "[2001:db8::1]:8443"]
to = "10.0.0.5:443"
accept-proxy = ["10.0.0.0/8"]
protocol = "both"
[via.wan2]
interface = "ppp1"
mark = 0x100
source = ["192.0.2.1", "2001:db8::1"]
connect-timeout = "3s"
toa = true
[via.office]
proxy = "socks5://10.0.0.5:1080"
user = "alice"
password-file = "office.password"
resolve = true
via = ["wan2"]
proxy-protocol = "v2"
[via.any]
group = "hash client"
members = ["wan2", "office"]
check = { target = "tcp://192.0.2.7:443", expect = "200-204", interval = "20s", timeout = "1s" }
[rules]
match = [
  "host *.corp.example -> office",
]
default = "reject"
country-db = "/var/lib/country.mmdb"
[limits]
workers = 3
sniff-wait = "50ms"
idle-timeout = "1h"
drain-timeout = "2s"
[log]
format = "json"
to = "traffic.log"
)";

TEST(Config, reads_every_table) {
  const Config config = parsed(kEveryTable);
  const GatewayOptions& capture = config.capture.options;
  EXPECT_THAT(capture.interfaces, ElementsAre("br-lan", "eth1"));
  EXPECT_FALSE(config.capture.choose_lan);
  EXPECT_TRUE(capture.host && capture.loopback && capture.closed && capture.masquerade);
  EXPECT_EQ(capture.method, MethodChoice::redirect);
  EXPECT_THAT(capture.exclusions, SizeIs(2));

  ASSERT_THAT(config.listeners, SizeIs(1));
  const PlainListener& web = config.listeners.front();
  EXPECT_EQ(web.name, "web");
  EXPECT_THAT(web.addresses, SizeIs(2));
  EXPECT_EQ(web.to, Endpoint::parse("10.0.0.5:443"));
  EXPECT_THAT(web.accept_proxy, ElementsAre(*Network::parse("10.0.0.0/8")));
  EXPECT_TRUE(web.tcp && web.udp);

  ASSERT_THAT(config.ways_out, SizeIs(3));
  const WayOutSpec& wan2 = config.ways_out[0];
  EXPECT_EQ(wan2.name, "wan2");
  EXPECT_EQ(wan2.mark, 0x100U);
  EXPECT_THAT(wan2.source, SizeIs(2));
  EXPECT_EQ(wan2.connect_timeout_ms, 3000U);
  EXPECT_TRUE(wan2.toa);
  const WayOutSpec& office = config.ways_out[1];
  EXPECT_EQ(office.password_file, "/etc/shunt/office.password");
  EXPECT_TRUE(office.resolve);
  EXPECT_EQ(office.proxy_protocol, proxy_protocol::Version::v2);
  const WayOutSpec& any = config.ways_out[2];
  EXPECT_EQ(any.group, GroupKind::hash_client);
  ASSERT_TRUE(any.check);
  EXPECT_EQ(any.check->highest_status, 204);
  EXPECT_EQ(any.check->interval_ms, 20'000U);

  EXPECT_THAT(config.policy.ways_out, ElementsAre("wan2", "office", "any"));
  ASSERT_THAT(config.policy.rules, SizeIs(1));
  EXPECT_EQ(config.policy.rules[0].place.line, 35U);
  EXPECT_EQ(config.policy.rules[0].place.column, 4U);
  EXPECT_EQ(config.policy.fallback.text, "reject");
  EXPECT_EQ(config.policy.folder, "/etc/shunt");
  EXPECT_EQ(config.limits.workers, 3U);
  EXPECT_EQ(config.limits.connect_timeout_ms, limits::kConnectTimeoutMs);
  EXPECT_TRUE(config.log.json);
  EXPECT_EQ(config.log.to, "/etc/shunt/traffic.log");
}

TEST(Config, with_listeners_and_without_capture_captures_nothing) {
  const std::string listen = "version = 1\nlisten.a.address = '192.0.2.1:1'\n";
  EXPECT_FALSE(parsed(listen).capture.choose_lan);
  EXPECT_TRUE(parsed(listen + "capture.host = true\n").capture.choose_lan);
  const Config config = parsed(listen);
  EXPECT_TRUE(config.listeners.front().tcp);
  EXPECT_FALSE(config.listeners.front().udp || config.listeners.front().to);
}

TEST(Config, trusted_resolvers_are_one_address_or_several) {
  const auto trusted = [](const std::string& value) {
    return parsed("version = 1\ndns.trusted = " + value + "\n").dns.trusted;
  };
  const Address one = *Address::parse("192.0.2.53");
  EXPECT_THAT(trusted("'192.0.2.53'"), ElementsAre(one));
  EXPECT_THAT(trusted("['192.0.2.53', '2001:db8::53']"),
              ElementsAre(one, *Address::parse("2001:db8::53")));
  EXPECT_THAT(trusted("[]"), ElementsAre());
  EXPECT_THAT(mistakes("version = 1\ndns.trusted = 'resolver'\n"), SizeIs(1));
}

TEST(Config, has_the_defaults_of_the_flags) {
  const Config config = parsed("version = 1\n");
  EXPECT_TRUE(config.capture.choose_lan);
  EXPECT_FALSE(config.capture.options.host || config.capture.options.closed);
  EXPECT_EQ(config.capture.options.method, MethodChoice::automatic);
  EXPECT_EQ(config.policy.fallback.text, "direct");
  EXPECT_EQ(config.limits, LimitsConfig{});
}

TEST(Config, a_final_dot_of_a_real_name_is_left_out) {
  const Config config =
      parsed("version = 1\n[dns]\nmode = \"fake-ip\"\nreal = [\"Printer.Example.\"]\n");
  EXPECT_THAT(config.dns.real, ElementsAre("printer.example"));
}

TEST(Config, the_timeout_of_a_check_is_no_longer_than_its_interval) {
  const Config config = parsed("version = 1\n[via.g.check]\ninterval = \"2s\"\n");
  EXPECT_EQ(config.ways_out.front().check->timeout_ms, 2000U);
}

TEST(Config, warns_of_what_has_no_effect) {
  const auto checked = check_config(
      parsed("version = 1\n[dns]\nrange4 = \"100.64.0.0/16\"\n[via.g]\ngroup = \"failover\"\n"
             "members = [\"direct\"]\ncheck = { target = \"tcp://h:1\", expect = \"200\" }\n"
             "[rules]\ndefault = \"g\"\n"));
  ASSERT_TRUE(checked);
  const auto warnings = config_warnings(*checked);
  ASSERT_THAT(warnings, SizeIs(2));
  EXPECT_EQ(warnings[0].message, "expect has no effect");
  EXPECT_THAT(warnings[0].place, HasSubstr("expect = \"200\""));
  EXPECT_EQ(warnings[1].message, "range4 has no effect");
  EXPECT_THAT(warnings[1].place, HasSubstr("shunt.toml:3:10"));
}

TEST(Config, no_interface_at_all_is_not_a_choice_of_interfaces) {
  EXPECT_FALSE(parsed("version = 1\ncapture.lan = []\n").capture.choose_lan);
}

TEST(Config, a_hundred_thousand_rules_may_stand_in_one_line) {
  std::string text = "version = 1\nrules.match = [";
  for (int i = 0; i < 100'000; ++i) text += "'port 1 -> direct',";
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THAT(parsed(text + "]\n").policy.rules, SizeIs(100'000));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
}

TEST(Config, warns_where_anybody_may_say_who_the_client_is) {
  const auto checked = check_config(
      parsed("version = 1\n[listen.a]\naddress = '192.0.2.1:1'\naccept-proxy = ['::/0']\n"));
  ASSERT_TRUE(checked) << checked.error().front().message;
  const auto warnings = config_warnings(*checked);
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_THAT(warnings.front().message, HasSubstr("takes PROXY headers from ::/0"));
}

TEST(Config, warns_of_what_is_odd) {
  const auto config = parse_config("shunt.toml", R"(version = 1
[via.used]
interface = "a"
[via.hop]
interface = "b"
[via.far]
proxy = "socks5://192.0.2.1"
via = ["hop"]
[via.idle]
interface = "c"
[rules]
match = [
  "port 80 -> far",
  "port 80 host a.example -> reject",
  "port 1 -> used",
]
)");
  ASSERT_TRUE(config);
  const auto checked = check_config(*config);
  ASSERT_TRUE(checked) << checked.error().front().message;
  const auto warnings = config_warnings(*checked);
  ASSERT_THAT(warnings, SizeIs(2));
  EXPECT_THAT(warnings[0].place, HasSubstr("shunt.toml:14:"));
  EXPECT_EQ(warnings[1].message, "no rule leads to the way out \"idle\"");
  EXPECT_THAT(warnings[1].place, HasSubstr("shunt.toml:9:6\n"));
}

}  // namespace
}  // namespace shunt
