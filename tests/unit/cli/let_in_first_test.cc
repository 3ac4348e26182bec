// SPDX-License-Identifier: GPL-2.0-only
#include "cli/let_in_first.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "cli/explain_flow.h"
#include "config/config.h"

namespace shunt::cli {
namespace {

/// Of a client of the LAN, by the configuration `text`.
std::string let_in(const std::string& text, const std::string& destination,
                   const std::string& host = "") {
  auto config = parse_config("/etc/shunt/shunt.toml", "version = 1\n" + text);
  EXPECT_TRUE(config) << text << (config ? "" : config.error().front().message);
  if (!config) return {};
  const auto checked = check_config(*std::move(config));
  EXPECT_TRUE(checked) << text << (checked ? "" : checked.error().front().message);
  auto facts = facts_of({.destination = destination, .client = "192.168.1.50", .host = host});
  EXPECT_TRUE(facts) << destination;
  if (!checked || !facts) return {};
  settle_where_servers_speak_first(*checked, *facts);
  const FlowAnswer answer = explain_flow(*checked->rules, *facts, CaptureAnswer{});
  return let_in_text(*checked, answer, *facts);
}

constexpr const char* kWaits = "waits until its server has answered";
constexpr const char* kFirstBytes = "is let in first: its first bytes are asked for";

TEST(LetInFirst, is_no_client_of_whom_nothing_is_needed) {
  EXPECT_EQ(let_in("", "192.0.2.7:443"), kWaits);
  EXPECT_EQ(let_in("rules.match = ['host a.example -> reject']", "192.0.2.7:443"), kFirstBytes);
  EXPECT_EQ(let_in("rules.match = ['host a.example -> reject']", "192.0.2.7:443", "b.example"),
            kWaits);
}

TEST(LetInFirst, is_no_client_of_a_server_that_speaks_first) {
  const std::string by_name = "rules.match = ['host a.example -> reject']\n";
  EXPECT_EQ(let_in(by_name, "192.0.2.7:22"), kWaits);
  EXPECT_EQ(let_in(by_name, "192.0.2.7:2222"), kFirstBytes);
  EXPECT_EQ(let_in(by_name + "limits.server-first = [2222]", "192.0.2.7:2222"), kWaits);
  const std::string by_proxy =
      "via.tor.proxy = 'socks5h://192.0.2.1:9050'\nrules.default = 'tor'\n";
  EXPECT_EQ(let_in(by_proxy, "192.0.2.7:443"), "is let in first: tor sends names");
  EXPECT_EQ(let_in(by_proxy, "192.0.2.7:25"), kWaits);
}

TEST(LetInFirst, waits_for_no_server_where_a_rule_denies) {
  const std::string rules = "rules.match = ['port 80 -> reject', 'port 81 -> drop']\n";
  EXPECT_EQ(let_in(rules, "192.0.2.7:80"), "is refused");
  EXPECT_EQ(let_in(rules, "192.0.2.7:81"), "is told nothing");
  EXPECT_EQ(let_in(rules + "capture.connect = 'early'", "192.0.2.7:80"),
            "is let in first: [capture] says connect = \"early\"");
  EXPECT_EQ(
      let_in("rules.match = ['host a.example -> drop']\nrules.default = 'reject'", "192.0.2.7:443"),
      kFirstBytes);
}

}  // namespace
}  // namespace shunt::cli
