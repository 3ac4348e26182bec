// SPDX-License-Identifier: GPL-2.0-only
#include "capture/notrack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shunt {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;

GatewayOptions early() {
  GatewayOptions options;
  options.notrack = true;
  options.connect = ConnectMode::early;
  return options;
}

TEST(Notrack, goes_with_no_option_that_needs_the_connections_mark) {
  EXPECT_THAT(notrack_conflict(early()), IsEmpty());
  GatewayOptions held = early();
  held.connect = ConnectMode::automatic;
  EXPECT_THAT(notrack_conflict(held), HasSubstr("connect = early"));
  held.connect = ConnectMode::honest;
  EXPECT_THAT(notrack_conflict(held), HasSubstr("connect = early"));
  GatewayOptions closed = early();
  closed.closed = true;
  EXPECT_THAT(notrack_conflict(closed), HasSubstr("on-exit"));
  GatewayOptions kept = early();
  kept.leaving.keep_source = true;
  EXPECT_THAT(notrack_conflict(kept), HasSubstr("keep-source"));
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
