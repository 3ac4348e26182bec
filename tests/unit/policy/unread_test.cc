// SPDX-License-Identifier: GPL-2.0-only
#include "policy/unread.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "unit/policy/rules_fixture.h"

namespace shunt {
namespace {

std::uint32_t denial(const std::vector<std::string>& texts, AppProtocol begun = AppProtocol::http,
                     std::uint32_t decided = 0) {
  return denial_of_unread(*compiled(texts), flow_to("198.51.100.7:443"), begun, decided);
}

TEST(DenialOfUnread, is_the_first_rule_that_may_deny_by_the_first_bytes) {
  EXPECT_EQ(denial({"host a.example -> office", "port 443 host b.example -> drop"}), 2U);
  EXPECT_EQ(denial({"method POST -> reject"}), 1U);
  EXPECT_EQ(denial({"path /x -> reject"}), 1U);
  EXPECT_EQ(denial({"not host a.example -> reject"}), 1U);
  EXPECT_EQ(denial({"app http -> reject"}), 1U);
  EXPECT_EQ(denial({"app tls host a.example -> reject"}, AppProtocol::tls), 1U);
}

TEST(DenialOfUnread, is_none_where_no_such_rule_can_match) {
  EXPECT_EQ(denial({"port 80 host a.example -> reject", "host a.example -> office"}), 0U);
  EXPECT_EQ(denial({"port 443 -> reject"}), 0U);
  EXPECT_EQ(denial({"method POST -> reject", "path /x -> reject"}, AppProtocol::tls), 0U);
  EXPECT_EQ(denial({"app ssh,other -> reject", "app tls host a.example -> reject"}), 0U);
}

TEST(DenialOfUnread, stands_before_the_rule_that_decides) {
  const std::vector<std::string> rules = {"app http -> office", "host a.example -> reject",
                                          "-> direct"};
  EXPECT_EQ(denial(rules, AppProtocol::http, 3), 2U);
  EXPECT_EQ(denial(rules, AppProtocol::http, 2), 0U);
  EXPECT_EQ(denial(rules, AppProtocol::http, 1), 0U);
}

// What DNS said of the address is not what the request says.
TEST(DenialOfUnread, name_that_is_known_otherwise_does_not_count) {
  const auto rules = compiled({"host a.example -> reject"});
  const Facts facts = named(flow_to("198.51.100.7:443"), "b.example");
  EXPECT_EQ(denial_of_unread(*rules, facts, AppProtocol::tls, 0), 1U);
}

}  // namespace
}  // namespace shunt
