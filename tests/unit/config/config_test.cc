// SPDX-License-Identifier: GPL-2.0-only
#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

Config parsed(const std::string& text) {
  auto config = parse_config("/etc/shunt/shunt.toml", text);
  EXPECT_TRUE(config) << text << (config ? "" : config.error().front().message);
  return config ? *std::move(config) : Config{};
}

Mistakes mistakes(const std::string& text) {
  auto config = parse_config("shunt.toml", text);
  EXPECT_FALSE(config) << text;
  return config ? Mistakes{} : std::move(config).error();
}

/// As it is printed, but for colours and indentation.
std::string shown(const Error& error) {
  std::string out = "S" + std::to_string(error.number) + " " + error.message + "\n" + error.place;
  if (!error.help.empty()) out += "\nhelp: " + error.help;
  return out;
}

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

std::vector<Error> mistakes_of_ways_out(const std::string& text) {
  const auto checked = check_config(parsed("version = 1\n" + text));
  return checked ? std::vector<Error>{} : checked.error();
}

TEST(Config, a_mistake_in_a_check_is_shown_at_its_key) {
  const std::string group = "[via.g]\ngroup = \"failover\"\nmembers = [\"direct\"]\n";
  const auto port = mistakes_of_ways_out(group + "check = { target = \"tcp://203.0.113.10\" }\n");
  ASSERT_THAT(port, SizeIs(1));
  EXPECT_THAT(shown(port.front()), HasSubstr("the port is missing"));
  EXPECT_THAT(port.front().place, HasSubstr(":5:20\n"));
  const auto late = mistakes_of_ways_out(
      group + "check = { target = \"tcp://h:1\", interval = \"2s\", timeout = \"3s\" }\n");
  ASSERT_THAT(late, SizeIs(1));
  EXPECT_THAT(late.front().place, HasSubstr(":5:60\n"));
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

struct Mistake {
  const char* text;
  const char* printed;
};

class ConfigMistake : public testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistake, is_shown_where_it_stands) {
  const Mistakes found = mistakes(GetParam().text);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(shown(found.front()), GetParam().printed);
  EXPECT_EQ(found.front().kind, Kind::configuration);
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigMistake,
    testing::Values(
        Mistake{"version = 1\n[capture]\nlna = [\"a\"]\n",
                "S42 unknown key \"lna\" in [capture]\nshunt.toml:3:1\n"
                "3 | lna = [\"a\"]\n  | ^^^ did you mean \"lan\"?"},
        Mistake{"version = 1\n[captur]\nlan = [\"a\"]\n",
                "S42 unknown key \"captur\" at the top of the file\nshunt.toml:2:2\n"
                "2 | [captur]\n  |  ^^^^^^ did you mean \"capture\"?"},
        Mistake{"version = 1\n[via.\"\xc3\xbc\"]\ninterfase = \"ppp1\"\n",
                "S42 unknown key \"interfase\" in [via.\xc3\xbc]\nshunt.toml:3:1\n"
                "3 | interfase = \"ppp1\"\n  | ^^^^^^^^^ did you mean \"interface\"?"},
        Mistake{"version = 1\nlog = { colour = true }\n",
                "S42 unknown key \"colour\" in [log]\nshunt.toml:2:9\n"
                "2 | log = { colour = true }\n  |         ^^^^^^\nhelp: there are: format, to"},
        Mistake{"version = 1\n[capture]\nhost = \"yes\"\n",
                "S43 capture.host wants true or false\nshunt.toml:3:8\n"
                "3 | host = \"yes\"\n  |        ^^^^^"},
        Mistake{"version = 1\n[capture]\nlan = \"br-lan\"\n",
                "S43 capture.lan wants a list of texts: [\"\xe2\x80\xa6\", \"\xe2\x80\xa6\"]\n"
                "shunt.toml:3:7\n3 | lan = \"br-lan\"\n  |       ^^^^^^^^"},
        Mistake{"version = 1\n[capture]\nlan = [\n  \"a\",\n  1]\n",
                "S43 capture.lan wants a list of texts: [\"\xe2\x80\xa6\", \"\xe2\x80\xa6\"]\n"
                "shunt.toml:5:3\n5 |   1]\n  |   ^"},
        Mistake{"version = 1\n[capture]\nmethod = \"tprxy\"\n",
                "S43 method cannot be \"tprxy\"\nshunt.toml:3:10\n"
                "3 | method = \"tprxy\"\n  |          ^^^^^^^ did you mean \"tproxy\"?\n"
                "help: one of \"auto\", \"tproxy\", \"redirect\""},
        Mistake{"version = 1\n[limits]\nidle-timeout = \"5\"\n",
                "S43 idle-timeout: \"5\": the unit is missing\nshunt.toml:3:16\n"
                "3 | idle-timeout = \"5\"\n  |                ^^^\nhelp: 5ms or 5s"},
        Mistake{"version = 1\n[limits]\nsniff-wait = \"2m\"\n",
                "S43 sniff-wait: \"2m\": too long\nshunt.toml:3:14\n"
                "3 | sniff-wait = \"2m\"\n  |              ^^^^\nhelp: 0s to 1m"},
        Mistake{"version = 1\n[limits]\nworkers = 0\n",
                "S43 limits.workers wants a whole number from 1 to 256\nshunt.toml:3:11\n"
                "3 | workers = 0\n  |           ^"},
        Mistake{"version = 1\n[via.a]\nsource = \"192.0.2\"\n",
                "S43 via.a.source wants an IP address in quotes, or a list of them\n"
                "shunt.toml:3:10\n3 | source = \"192.0.2\"\n  |          ^^^^^^^^^"},
        Mistake{"version = 1\n[listen.a]\naddress = [\"192.0.2.1\"]\n",
                "S43 listen.a.address wants \"ADDRESS:PORT\" (an IPv6 address as "
                "\"[2001:db8::1]:443\"), or a list of them\nshunt.toml:3:12\n"
                "3 | address = [\"192.0.2.1\"]\n  |            ^^^^^^^^^^^"},
        Mistake{"version = 1\n[listen.a]\naccept-proxy = \"10.0.0.0/33\"\n",
                "S43 listen.a.accept-proxy wants a network as \"10.0.0.0/8\", or a list of them\n"
                "shunt.toml:3:16\n3 | accept-proxy = \"10.0.0.0/33\"\n  |                "
                "^^^^^^^^^^^^^"},
        Mistake{"version = 1\nvia = 7\n",
                "S43 via wants tables: [via.NAME]\nshunt.toml:2:7\n2 | via = 7\n  |       ^"},
        Mistake{"version = 2\n",
                "S44 this shunt knows version 1 of the format, not 2\nshunt.toml:1:11\n"
                "1 | version = 2\n  |           ^"},
        Mistake{"[rules]\n",
                "S44 the version of the file's format is missing\nshunt.toml:1:1\n"
                "1 | [rules]\n  | ^\nhelp: begin with: version = 1"},
        Mistake{"version = 1\n[capture]\nloopback = true\n",
                "S28 loopback is about this machine's own traffic and needs host = true\n"
                "shunt.toml:3:12\n3 | loopback = true\n  |            ^^^^"},
        Mistake{"version = 1\n[capture]\nexclude = ['prot udp']\n",
                "S11 unknown term \"prot\"\nshunt.toml:3:13\n"
                "3 | exclude = ['prot udp']\n  |             ^^^^ did you mean \"proto\"?"},
        Mistake{"version = 1\n[via.a]\nmark = 0x100000000\n",
                "S43 via.a.mark wants a whole number from 1 to 4294967295 (32 bits)\n"
                "shunt.toml:3:8\n3 | mark = 0x100000000\n  |        ^^^^^^^^^^^"},
        Mistake{"version = 1\n[via.a]\nkeep-source-from = []\n",
                "S43 via.a.keep-source-from: nothing stands there\nshunt.toml:3:20\n"
                "3 | keep-source-from = []\n  |                    ^^\nhelp: keep-source = false "
                "keeps nobody's address; without the key, everybody's is kept"},
        Mistake{"version = 1\n[via.a]\ninterface = \"\"\n",
                "S43 via.a.interface: nothing stands there\nshunt.toml:3:13\n"
                "3 | interface = \"\"\n  |             ^^\nhelp: leave the key out, or say what "
                "is meant"},
        Mistake{"version = 1\n[log]\nto = \"\"\n",
                "S43 log.to: nothing stands there\nshunt.toml:3:6\n3 | to = \"\"\n  |      ^^\n"
                "help: leave the key out, or say what is meant"},
        Mistake{"version = 1\n[capture]\nlan = [\"a\", \"\"]\n",
                "S43 capture.lan: nothing stands there\nshunt.toml:3:13\n"
                "3 | lan = [\"a\", \"\"]\n  |             ^^\n"
                "help: leave the key out, or say what is meant"},
        Mistake{"version = 1\n[dns]\nmode = \"fake-ip\"\nreal = [\"ok\", \"192.168.1.1\"]\n",
                "S43 real: \"192.168.1.1\" is no name, and no *.NAME for all below one\n"
                "shunt.toml:4:15\n4 | real = [\"ok\", \"192.168.1.1\"]\n"
                "  |               ^^^^^^^^^^^^^\n"
                "help: real = [\"printer.example\", \"*.corp.example\"]"},
        Mistake{"version = 1\n[via.a.check]\ntarget = \"tcp://192.0.2.1:1\"\nexpect = \"ok\"\n",
                "S43 expect wants a status of HTTP, or a range of them\nshunt.toml:4:10\n"
                "4 | expect = \"ok\"\n  |          ^^^^\nhelp: expect = \"200-299\""}));

TEST(Config, what_is_not_toml_is_shown_where_it_stands) {
  const Mistakes found = mistakes("version = 1\n[capture\nhost = true\n");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found.front().number, 41);
  EXPECT_THAT(found.front().message, HasSubstr("not TOML: "));
  EXPECT_THAT(found.front().place, HasSubstr("shunt.toml:2:"));
  EXPECT_THAT(found.front().place, HasSubstr("2 | [capture\n"));
}

TEST(Config, says_several_mistakes_in_the_order_of_the_file) {
  const Mistakes found = mistakes(
      "version = 1\n[capture]\nhosts = true\nmethod = 1\n[rules]\nmatch = ['port x -> direct']\n");
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_THAT(found[0].place, HasSubstr(":3:1\n"));
  EXPECT_THAT(found[1].place, HasSubstr(":4:10\n"));
  EXPECT_THAT(found[2].place, HasSubstr(":6:16\n"));
}

TEST(Config, mistakes_of_every_kind_come_in_the_order_of_the_file) {
  const Mistakes text = mistakes(
      "version = 1\n[dns]\nmode = \"remote\"\n[rules]\nmatch = ['x']\n[capture]\nloopback = "
      "true\n");
  ASSERT_THAT(text, SizeIs(3));
  EXPECT_THAT(text[0].place, HasSubstr(":3:"));
  EXPECT_THAT(text[1].place, HasSubstr(":5:"));
  EXPECT_THAT(text[2].place, HasSubstr(":7:"));
  const auto config = parse_config(
      "shunt.toml",
      "version = 1\n[dns]\nmode = \"remote\"\nserver = \"tcp://192.0.2.53\"\nvia = \"nowhere\"\n"
      "[rules]\nmatch = ['port 80 -> gone']\n[via.a]\nvia = [\"gone\"]\n");
  ASSERT_TRUE(config);
  const auto checked = check_config(*config);
  ASSERT_FALSE(checked);
  ASSERT_THAT(checked.error(), SizeIs(3));
  EXPECT_THAT(checked.error()[0].place, HasSubstr(":5:"));
  EXPECT_THAT(checked.error()[1].place, HasSubstr(":7:"));
  EXPECT_THAT(checked.error()[2].place, HasSubstr(":9:"));
}

TEST(Config, does_not_go_on_about_mistakes_for_ever) {
  std::string text = "version = 1\n";
  for (int i = 0; i < 1000; ++i) text += "key" + std::to_string(i) + " = 1\n";
  EXPECT_THAT(mistakes(text), SizeIs(limits::kConfigMistakes));
}

TEST(Config, never_shows_a_password) {
  for (const char* line :
       {"password = \"hunter2\"", "Passwd = 'hunter2'", "office = { secret = \"hunter2\" }",
        "api-token = hunter2", "proxy = \"socks5://me:hunter2@host:1080\", "}) {
    for (const Error& error : mistakes(std::string("version = 1\n[via.a]\n") + line + "\n")) {
      EXPECT_THAT(shown(error), Not(HasSubstr("hunter2"))) << line;
    }
  }
}

TEST(Config, shows_the_name_of_a_password_file) {
  const Mistakes found = mistakes("version = 1\n[via.a]\npassword-file = /etc/x\n");
  EXPECT_THAT(found.front().place, HasSubstr("/etc/x"));
}

TEST(Config, a_mistake_in_a_rule_is_shown_in_its_line) {
  const auto config = parse_config(
      "shunt.toml", "version = 1\n[rules]\nmatch = [\n  \"port 80 -> wan22\",\n]\n[via.wan2]\n");
  ASSERT_TRUE(config);
  const auto checked = check_config(*config);
  ASSERT_FALSE(checked);
  ASSERT_THAT(checked.error(), SizeIs(1));
  EXPECT_EQ(shown(checked.error().front()),
            "S12 unknown way out \"wan22\"\nshunt.toml:4:15\n"
            "4 |   \"port 80 -> wan22\",\n  |               ^^^^^ did you mean \"wan2\"?");
}

TEST(Config, a_rule_with_escapes_is_shown_by_itself) {
  const auto config = parse_config(
      "shunt.toml", "version = 1\nrules.match = [\"process \\\"a b\\\" -> nowhere\"]\n");
  ASSERT_TRUE(config);
  const auto checked = check_config(*config);
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().front().place, HasSubstr("2 | process \"a b\" -> nowhere\n"));
}

TEST(Config, the_same_mistakes_come_with_lines_that_end_in_cr_lf) {
  const Mistakes found = mistakes("version = 1\r\n[capture]\r\nlna = []\r\n");
  EXPECT_THAT(found.front().place, HasSubstr("3 | lna = []\n"));
}

TEST(Config, a_hundred_thousand_rules_may_stand_in_one_line) {
  std::string text = "version = 1\nrules.match = [";
  for (int i = 0; i < 100'000; ++i) text += "'port 1 -> direct',";
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THAT(parsed(text + "]\n").policy.rules, SizeIs(100'000));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
}

TEST(Config, a_listener_that_leads_nowhere_is_shown_in_its_place) {
  const auto checked = check_config(
      parsed("version = 1\n[listen.a]\naddress = '192.0.2.1:1'\nto = '192.0.2.1:1'\n"));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().front().number, 55);
  EXPECT_THAT(checked.error().front().place, HasSubstr("/etc/shunt/shunt.toml:4:6"));
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
