// SPDX-License-Identifier: GPL-2.0-only
// Each mistake of a configuration is one clear error with its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/config.h"
#include "unit/config/config_fixture.h"

namespace shunt {
namespace {

using test::mistakes;
using test::parsed;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

/// As it is printed, but for colours and indentation.
std::string shown(const Error& error) {
  std::string out = "S" + std::to_string(error.number) + " " + error.message + "\n" + error.place;
  if (!error.help.empty()) out += "\nhelp: " + error.help;
  return out;
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

TEST(ConfigMistakes, what_is_not_toml_is_shown_where_it_stands) {
  const Mistakes found = mistakes("version = 1\n[capture\nhost = true\n");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found.front().number, 41);
  EXPECT_THAT(found.front().message, HasSubstr("not TOML: "));
  EXPECT_THAT(found.front().place, HasSubstr("shunt.toml:2:"));
  EXPECT_THAT(found.front().place, HasSubstr("2 | [capture\n"));
}

TEST(ConfigMistakes, says_several_mistakes_in_the_order_of_the_file) {
  const Mistakes found = mistakes(
      "version = 1\n[capture]\nhosts = true\nmethod = 1\n[rules]\nmatch = ['port x -> direct']\n");
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_THAT(found[0].place, HasSubstr(":3:1\n"));
  EXPECT_THAT(found[1].place, HasSubstr(":4:10\n"));
  EXPECT_THAT(found[2].place, HasSubstr(":6:16\n"));
}

TEST(ConfigMistakes, of_every_kind_come_in_the_order_of_the_file) {
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

TEST(ConfigMistakes, does_not_go_on_about_mistakes_for_ever) {
  std::string text = "version = 1\n";
  for (int i = 0; i < 1000; ++i) text += "key" + std::to_string(i) + " = 1\n";
  EXPECT_THAT(mistakes(text), SizeIs(limits::kConfigMistakes));
}

TEST(ConfigMistakes, never_shows_a_password) {
  for (const char* line :
       {"password = \"hunter2\"", "Passwd = 'hunter2'", "office = { secret = \"hunter2\" }",
        "api-token = hunter2", "proxy = \"socks5://me:hunter2@host:1080\", "}) {
    for (const Error& error : mistakes(std::string("version = 1\n[via.a]\n") + line + "\n")) {
      EXPECT_THAT(shown(error), Not(HasSubstr("hunter2"))) << line;
    }
  }
}

TEST(ConfigMistakes, shows_the_name_of_a_password_file) {
  const Mistakes found = mistakes("version = 1\n[via.a]\npassword-file = /etc/x\n");
  EXPECT_THAT(found.front().place, HasSubstr("/etc/x"));
}

TEST(ConfigMistakes, a_mistake_in_a_rule_is_shown_in_its_line) {
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

TEST(ConfigMistakes, a_rule_with_escapes_is_shown_by_itself) {
  const auto config = parse_config(
      "shunt.toml", "version = 1\nrules.match = [\"process \\\"a b\\\" -> nowhere\"]\n");
  ASSERT_TRUE(config);
  const auto checked = check_config(*config);
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().front().place, HasSubstr("2 | process \"a b\" -> nowhere\n"));
}

TEST(ConfigMistakes, the_same_mistakes_come_with_lines_that_end_in_cr_lf) {
  const Mistakes found = mistakes("version = 1\r\n[capture]\r\nlna = []\r\n");
  EXPECT_THAT(found.front().place, HasSubstr("3 | lna = []\n"));
}

std::vector<Error> mistakes_of_ways_out(const std::string& text) {
  const auto checked = check_config(parsed("version = 1\n" + text));
  return checked ? std::vector<Error>{} : checked.error();
}

TEST(ConfigMistakes, a_mistake_in_a_check_is_shown_at_its_key) {
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

TEST(ConfigMistakes, a_listener_that_leads_nowhere_is_shown_in_its_place) {
  const auto checked = check_config(
      parsed("version = 1\n[listen.a]\naddress = '192.0.2.1:1'\nto = '192.0.2.1:1'\n"));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().front().number, 55);
  EXPECT_THAT(checked.error().front().place, HasSubstr("/etc/shunt/shunt.toml:4:6"));
}

TEST(ConfigMistakes, name_the_key_of_a_database_that_is_not_there) {
  const auto checked = check_config(
      parsed("version = 1\n[rules]\nasn-db = \"no.mmdb.asn\"\ncountry-db = \"no.mmdb\"\n"));
  ASSERT_FALSE(checked);
  ASSERT_THAT(checked.error(), SizeIs(2));
  EXPECT_THAT(checked.error()[0].message, HasSubstr("no.mmdb.asn"));
  EXPECT_THAT(checked.error()[0].place, HasSubstr("shunt.toml:3:10\n"));
  EXPECT_THAT(checked.error()[1].place, HasSubstr("shunt.toml:4:14\n"));
}

}  // namespace
}  // namespace shunt
