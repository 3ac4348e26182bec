// SPDX-License-Identifier: GPL-2.0-only
#include "capture/notrack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shunt {
namespace {

using testing::AllOf;
using testing::Eq;
using testing::Field;
using testing::HasSubstr;
using testing::Not;
using testing::Optional;

GatewayOptions early() {
  GatewayOptions options;
  options.notrack = true;
  options.connect = ConnectMode::early;
  return options;
}

testing::Matcher<NotrackConflict> says(const char* words) {
  return Field(&NotrackConflict::message, HasSubstr(words));
}

testing::Matcher<NotrackConflict> mended_by(const char* in_file,
                                            const testing::Matcher<std::string>& in_flags) {
  return AllOf(Field(&NotrackConflict::fix_in_file, HasSubstr(in_file)),
               Field(&NotrackConflict::fix_in_flags, in_flags));
}

TEST(Notrack, goes_with_no_option_that_needs_the_connections_mark) {
  EXPECT_EQ(notrack_conflict(early()), std::nullopt);
  GatewayOptions held = early();
  held.connect = ConnectMode::automatic;
  EXPECT_THAT(notrack_conflict(held), Optional(says("connect = early")));
  held.connect = ConnectMode::honest;
  EXPECT_THAT(notrack_conflict(held), Optional(says("connect = early")));
  GatewayOptions closed = early();
  closed.closed = true;
  EXPECT_THAT(notrack_conflict(closed), Optional(says("on-exit = closed")));
  GatewayOptions kept = early();
  kept.leaving.keep_source = true;
  EXPECT_THAT(notrack_conflict(kept), Optional(says("keep-source")));
}

TEST(Notrack, is_told_how_to_end_each_conflict_in_flags_and_in_keys) {
  GatewayOptions options = early();
  options.connect = ConnectMode::honest;
  EXPECT_THAT(notrack_conflict(options),
              Optional(mended_by("connect = \"early\"", Eq("shunt gateway --notrack --connect "
                                                           "early …"))));
  options = early();
  options.closed = true;
  EXPECT_THAT(notrack_conflict(options),
              Optional(mended_by("on-exit = \"open\"", HasSubstr("without --on-exit closed"))));
  options = early();
  options.leaving.keep_source = true;
  EXPECT_THAT(notrack_conflict(options),
              Optional(mended_by("keep-source", Not(HasSubstr("--on-exit")))));
}

TEST(Notrack, names_the_table_that_looks_at_tracking) {
  EXPECT_THAT(table_that_tracks("table inet filter {\n\tchain input {\n\t\ttype filter hook input "
                                "priority filter; policy drop;\n\t\tct state established,related "
                                "accept\n\t}\n}\n"),
              Optional(std::string("table inet filter (ct state established,related accept)")));
  for (const char* rule :
       {"iifname \"wan0\" ct state invalid drop", "xt match \"conntrack\" counter accept",
        "xt match \"state\" accept", "xt target \"CONNMARK\"", "tcp dport 80 dnat to 192.0.2.1",
        "tcp dport 80 redirect to :8080", "meta mark set ct mark",
        "type nat hook prerouting priority dstnat; policy accept;"}) {
    EXPECT_THAT(table_that_tracks(std::string("table ip a {\n chain b {\n  ") + rule + "\n }\n}\n"),
                Optional(HasSubstr("table ip a (")))
        << rule;
  }
}

TEST(Notrack, passes_rules_that_do_not) {
  EXPECT_EQ(table_that_tracks(""), std::nullopt);
  for (const char* rule :
       {"tcp dport 22 accept", "notrack", "iifname \"direct0\" accept", "meta mark 0x1 accept",
        "type nat hook postrouting priority srcnat; policy accept;", "oifname \"wan0\" masquerade",
        "udp dport 53 reject", "comment \"select a product\""}) {
    EXPECT_EQ(table_that_tracks(std::string("table ip a {\n chain b {\n  ") + rule + "\n }\n}\n"),
              std::nullopt)
        << rule;
  }
}

TEST(Notrack, passes_the_tables_of_other_instances) {
  EXPECT_EQ(table_that_tracks("table inet shunt-1 { # progname shunt\n  chain c {\n    ct mark 0x1 "
                              "accept\n  }\n}\n"),
            std::nullopt);
}

}  // namespace
}  // namespace shunt
