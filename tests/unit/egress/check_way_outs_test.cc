// SPDX-License-Identifier: GPL-2.0-only
// Configurations that are wrong, and what is said of them.
#include "egress/check_way_outs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error_numbers.h"
#include "egress/way_out_cycles.h"
#include "egress/way_out_spec.h"

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Error mistake(const std::vector<WayOutSpec>& specs, std::uint32_t own_bits = 0) {
  const auto made = make_ways_out(specs, {.own_mark_bits = own_bits});
  EXPECT_FALSE(made.has_value());
  return made ? Error{} : made.error();
}

void expect_mistake(const WayOutSpec& spec, std::string_view part,
                    int number = error_number::kBadWayOut) {
  const Error error = mistake({spec});
  EXPECT_EQ(error.number, number) << error.message;
  EXPECT_EQ(error.kind, Kind::configuration);
  EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
}

TEST(CheckWayOuts, names_are_plain_and_unique) {
  expect_mistake({.name = ""}, "a name is made of");
  expect_mistake({.name = "a b"}, "a name is made of");
  expect_mistake({.name = "direct"}, "shunt's own");
  EXPECT_NE(mistake({{.name = "a"}, {.name = "a"}}).message.find("two ways out"),
            std::string::npos);
}

TEST(CheckWayOuts, contradictions_name_their_key) {
  const std::string proxy = "socks5://127.0.0.1:1080";
  expect_mistake({.name = "a", .interface = "an-interface-too-long"}, "interface");
  expect_mistake({.name = "a", .mark = 0}, "mark");
  expect_mistake({.name = "a", .source = {*Address::parse("0.0.0.0")}}, "source");
  expect_mistake(
      {.name = "a", .source = {*Address::parse("192.0.2.1"), *Address::parse("192.0.2.2")}},
      "at most one");
  expect_mistake({.name = "a", .resolve = true}, "resolve");
  expect_mistake({.name = "a", .user = "alice"}, "user");
  expect_mistake({.name = "a", .proxy = "ftp://x"}, "unknown kind of proxy");
  expect_mistake({.name = "a", .proxy = proxy, .user = "alice"}, "a user without a password");
  expect_mistake({.name = "a", .proxy = proxy, .credential = "x"}, "a password without a user");
  expect_mistake(
      {.name = "a", .proxy = proxy, .user = "u", .password_file = "f", .credential = "c"},
      "from one place");
  expect_mistake({.name = "a", .proxy = "socks4a://u@127.0.0.1", .credential = "c"},
                 "SOCKS4 knows no password");
  expect_mistake({.name = "a", .interface = "eth0", .proxy = proxy, .via = {"direct"}},
                 "interface");
  expect_mistake({.name = "a", .members = {"direct"}}, "members");
  expect_mistake({.name = "a", .group = GroupKind::failover}, "a group without members");
  expect_mistake({.name = "a", .proxy = proxy, .group = GroupKind::failover, .members = {"direct"}},
                 "proxy");
  expect_mistake({.name = "a", .group = GroupKind::failover, .members = {"direct", "direct"}},
                 "twice");
  expect_mistake({.name = "a",
                  .group = GroupKind::failover,
                  .members = {"direct"},
                  .check = CheckSpec{.target = "192.0.2.1"}},
                 "tcp:// or http://");
}

TEST(CheckWayOuts, a_word_of_the_rules_is_no_name) {
  for (const char* name : {"reject", "drop", "else"}) {
    expect_mistake({.name = name}, "a word of the rules' own");
  }
}

TEST(CheckWayOuts, a_credential_is_a_plain_file_name) {
  const std::string proxy = "socks5://127.0.0.1:1080";
  for (const char* name : {"../x", "/x", ".."}) {
    expect_mistake({.name = "a", .proxy = proxy, .user = "u", .credential = name},
                   "credential: not a plain file name", error_number::kPasswordFile);
  }
}

TEST(CheckWayOuts, targets_of_checks_are_read_as_they_will_be_used) {
  const auto group = [](const char* target) {
    return WayOutSpec{.name = "g",
                      .group = GroupKind::failover,
                      .members = {"direct"},
                      .check = CheckSpec{.target = target}};
  };
  for (const char* good : {"tcp://192.0.2.1:443", "tcp://[2001:db8::1]:443", "http://192.0.2.1",
                           "http://host:8080/a?b", "http://[2001:db8::1]/"}) {
    EXPECT_TRUE(way_out_mistakes(std::vector{group(good)}, 0).empty()) << good;
  }
  for (const char* bad :
       {"192.0.2.1:1", "tcp://203.0.113.10", "tcp://203.0.113.10:0", "tcp://h:80/x", "http://[::1",
        "http://u:p@h/", "http://", "http://h/a b", "http://h:0/"}) {
    const auto found = way_out_mistakes(std::vector{group(bad)}, 0);
    ASSERT_EQ(found.size(), 1U) << bad;
    EXPECT_THAT(found.front().message, HasSubstr("check.target: ")) << bad;
  }
}

TEST(CheckWayOuts, keep_source_excludes_what_leaves_nothing_to_keep) {
  const std::string proxy = "socks5://127.0.0.1:1080";
  const WayOutSpec clear{.name = "clear", .keep_source = KeptEnd::address};
  WayOutSpec spec = clear;
  spec.source = {*Address::parse("192.0.2.1")};
  expect_mistake(spec, "source: keep-source says already whose address");
  spec = clear;
  spec.proxy = proxy;
  expect_mistake(spec, "proxy: the server sees the address of the proxy");
  spec = clear;
  spec.via = {"direct"};
  expect_mistake(spec, "via: the server sees the address of the proxy");
  spec = clear;
  spec.group = GroupKind::failover;
  spec.members = {"direct"};
  expect_mistake(spec, "keep-source: a group has members");
  expect_mistake({.name = "a", .keep_source_from = {*Network::parse("10.0.0.0/8")}},
                 "keep-source-from: only keep-source");
  for (const char* network : {"127.0.0.0/8", "224.0.0.0/4", "::1", "0.0.0.0"}) {
    spec = clear;
    spec.keep_source_from = {*Network::parse(network)};
    expect_mistake(spec, "holds no client's address");
  }
  for (const char* network : {"0.0.0.0/1", "0.0.0.0/7", "0.0.0.0/0", "::/0", "10.0.0.0/8"}) {
    spec = clear;
    spec.keep_source_from = {*Network::parse(network)};
    EXPECT_TRUE(make_ways_out(std::vector{spec}, {}).has_value()) << network;
  }
  const Error hop = mistake({clear, {.name = "b", .proxy = proxy, .via = {"clear"}}});
  EXPECT_NE(hop.message.find("\"clear\" keeps clients' addresses"), std::string::npos);
}

TEST(CheckWayOuts, keep_source_goes_with_what_says_how_a_socket_leaves) {
  const std::vector<WayOutSpec> specs{
      {.name = "clear",
       .interface = "wan0",
       .mark = 1,
       .table = 100,
       .keep_source = KeptEnd::port,
       .keep_source_from = {*Network::parse("0.0.0.0/0")},
       .proxy_protocol = proxy_protocol::Version::v2},
      {.name = "any", .group = GroupKind::failover, .members = {"clear", "direct"}}};
  const auto made = make_ways_out(specs, {});
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_TRUE(made->find("clear")->carries_udp());
}

TEST(CheckWayOuts, a_table_is_one_that_leads_out_and_is_no_groups) {
  expect_mistake({.name = "a", .table = 255}, "table: 255 is no table that leads out");
  expect_mistake({.name = "a", .table = 100, .group = GroupKind::failover, .members = {"direct"}},
                 "table");
  expect_mistake({.name = "a", .table = 100, .via = {"direct"}}, "table");
}

TEST(CheckWayOuts, a_password_in_the_url_is_not_repeated) {
  const Error error = mistake({{.name = "a", .proxy = "socks5://alice:hunter2@127.0.0.1"}});
  EXPECT_EQ((error.message + error.help + error.place).find("hunter2"), std::string::npos);
  EXPECT_NE(error.help.find("credential"), std::string::npos);
}

TEST(CheckWayOuts, a_mark_that_meets_shunts_own_is_refused_with_the_bits) {
  const Error error = mistake({{.name = "a", .mark = 0x0100'0001}}, 0xff00'0000);
  EXPECT_EQ(error.number, error_number::kMarkTaken);
  EXPECT_NE(error.message.find("0x1000000"), std::string::npos) << error.message;
}

TEST(CheckWayOuts, unknown_names_come_with_a_suggestion) {
  const Error error = mistake({{.name = "wan2"}, {.name = "office", .via = {"wan22"}}});
  EXPECT_EQ(error.number, error_number::kUnknownWayOut);
  EXPECT_EQ(error.message, "way out \"office\", via: unknown way out \"wan22\"");
  EXPECT_EQ(error.help, "did you mean \"wan2\"?");
}

TEST(CheckWayOuts, a_way_out_through_itself_is_shown_as_a_circle) {
  const Error error = mistake(
      {{.name = "a", .via = {"b"}}, {.name = "b", .group = GroupKind::failover, .members = {"a"}}});
  EXPECT_EQ(error.number, error_number::kWayOutCycle);
  EXPECT_NE(error.message.find("\"a\" -> \"b\" -> \"a\""), std::string::npos) << error.message;
}

/// Groups that each have the next one as their member, the last one "direct".
std::vector<WayOutSpec> groups_in_a_row(std::size_t count) {
  std::vector<WayOutSpec> specs;
  for (std::size_t i = 0; i < count; ++i) {
    specs.push_back({.name = std::to_string(i),
                     .group = GroupKind::failover,
                     .members = {i + 1 < count ? std::to_string(i + 1) : "direct"}});
  }
  return specs;
}

TEST(CheckWayOuts, the_depth_is_bounded_in_whatever_order_they_are_declared) {
  for (const bool from_the_bottom : {false, true}) {
    auto deep = groups_in_a_row(kDeepestWayOut);
    auto too_deep = groups_in_a_row(kDeepestWayOut + 1);
    if (from_the_bottom) std::ranges::reverse(deep);
    if (from_the_bottom) std::ranges::reverse(too_deep);
    EXPECT_TRUE(make_ways_out(deep, {}).has_value());
    EXPECT_NE(mistake(too_deep).message.find("more than 32 ways out"), std::string::npos);
  }
}

TEST(CheckWayOuts, the_error_says_where_its_key_stands) {
  WayOutSpec spec{.name = "a", .mark = 0};
  spec.place = [](std::string_view key) { return "shunt.toml:7, " + std::string(key); };
  EXPECT_EQ(mistake({spec}).place, "shunt.toml:7, mark");
}

TEST(CheckWayOuts, only_the_first_hop_says_how_the_connection_leaves) {
  const std::string proxy = "socks5://127.0.0.1:1080";
  const WayOutSpec plain{.name = "plain", .proxy = proxy};
  const WayOutSpec bound{.name = "bound", .interface = "lo", .proxy = proxy};
  const WayOutSpec wan{.name = "wan", .interface = "lo"};
  const auto says = [&](std::vector<std::string> via, std::string_view part) {
    const Error error = mistake({plain, bound, wan, {.name = "x", .via = std::move(via)}});
    EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
  };
  says({"plain", "bound"}, "only be a first hop");
  says({"plain", "wan"}, "only be the first hop");
  says({"plain", "direct"}, "only be the first hop");
}

std::vector<std::string> mistakes(const std::vector<WayOutSpec>& specs) {
  std::vector<std::string> texts;
  for (const Error& error : way_out_mistakes(specs, 0xff000000)) texts.push_back(error.message);
  return texts;
}

TEST(WayOutMistakes, of_all_ways_out_are_told_at_once) {
  EXPECT_THAT(mistakes({{.name = "a b"},
                        {.name = "b", .mark = 0x01000000, .source = {Address::any(Family::ipv4)}},
                        {.name = "c", .proxy = "gopher://x:1", .password_file = "p"},
                        {.name = "d", .via = {"nowhere", "b", "neither"}}}),
              ElementsAre(HasSubstr("a name is made of"), HasSubstr("\"b\", mark: "),
                          HasSubstr("\"b\", source: "), HasSubstr("\"c\", proxy: "),
                          HasSubstr("\"d\", via: unknown way out \"nowhere\""),
                          HasSubstr("\"d\", via: unknown way out \"neither\"")));
}

TEST(WayOutMistakes, tell_each_cycle_once) {
  EXPECT_THAT(mistakes({{.name = "a", .via = {"b"}},
                        {.name = "b", .via = {"a"}},
                        {.name = "c", .via = {"a"}},
                        {.name = "d", .group = GroupKind::failover, .members = {"d"}}}),
              ElementsAre(HasSubstr("leads through itself: \"a\" -> \"b\" -> \"a\""),
                          HasSubstr("leads through itself: \"d\" -> \"d\"")));
}

TEST(WayOutMistakes, are_none_where_nothing_is_wrong) {
  EXPECT_THAT(mistakes({{.name = "a"}, {.name = "b", .via = {"a", "direct"}}}), ElementsAre());
}

}  // namespace
}  // namespace shunt
