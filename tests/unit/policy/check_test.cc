// SPDX-License-Identifier: GPL-2.0-only
#include "policy/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "policy/decide.h"
#include "rule/parse.h"
#include "unit/policy/rules_fixture.h"

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = Finding::Kind;

bool covering(const std::string& earlier, const std::string& later) {
  return covers(*parse_rule(earlier + " -> direct"), *parse_rule(later + " -> direct"));
}

/// "3<1": rule 3 is covered by rule 1.
std::vector<std::string> unreachable(std::vector<std::string> texts) {
  std::vector<std::string> out;
  for (const Finding& finding : check(*compiled(std::move(texts)))) {
    if (finding.kind != Kind::unreachable) continue;
    out.push_back(std::to_string(finding.rule) + "<" + std::to_string(finding.earlier));
  }
  return out;
}

std::vector<Kind> kinds(std::vector<std::string> texts) {
  std::vector<Kind> out;
  for (const Finding& finding : check(*compiled(std::move(texts)))) {
    if (finding.kind != Kind::unused_way_out) out.push_back(finding.kind);
  }
  return out;
}

TEST(Covers, what_has_fewer_or_wider_terms) {
  EXPECT_TRUE(covering("", "port 80"));
  EXPECT_TRUE(covering("port 1-100,200", "port 80,90 proto tcp"));
  EXPECT_TRUE(covering("port 1-50,51-100", "port 40-60"));
  EXPECT_TRUE(covering("to 10.0.0.0/8,192.0.2.1", "to 10.1.0.0/16"));
  EXPECT_TRUE(covering("host *.example", "host a.example,*.b.example"));
  EXPECT_TRUE(covering("path /api/*", "path /api/v1,/api/v2/*"));
  EXPECT_TRUE(covering("cgroup /a", "cgroup /a/b"));
  EXPECT_TRUE(covering("uid 0-99", "user 7"));
  EXPECT_TRUE(covering("not port 80", "not port 80,81"));
  EXPECT_TRUE(covering("time mon-fri", "time tue 08:00-09:00"));
  EXPECT_TRUE(covering("host @ads.txt", "host @ads.txt port 80"));
}

TEST(Covers, not_what_has_others_or_narrower_ones) {
  EXPECT_FALSE(covering("port 80", ""));
  EXPECT_FALSE(covering("port 80", "port 80-81"));
  EXPECT_FALSE(covering("port 1-50,52-100", "port 40-60"));
  EXPECT_FALSE(covering("to 10.1.0.0/16", "to 10.0.0.0/8"));
  EXPECT_FALSE(covering("to 10.0.0.0/8", "client 10.0.0.0/8"));
  EXPECT_FALSE(covering("host *.a.example", "host a.example"));
  EXPECT_FALSE(covering("host *.a.example", "host xa.example"));
  EXPECT_FALSE(covering("host a.example", "host ~\"a.example\""));
  EXPECT_FALSE(covering("path /api/*", "path ~\"^/api/\""));
  EXPECT_FALSE(covering("cgroup /a", "cgroup /ab"));
  EXPECT_FALSE(covering("not port 80,81", "not port 80"));
  EXPECT_FALSE(covering("not port 80", "port 81"));
  EXPECT_FALSE(covering("uid 7", "gid 7"));
}

TEST(Check, finds_unreachable_rules) {
  EXPECT_THAT(unreachable({"host *.a.example -> wan2", "port 80 -> office",
                           "host x.a.example port 443 -> direct", "port 80 proto tcp -> wan2",
                           "host a.example -> office"}),
              ElementsAre("3<1", "4<2"));
  EXPECT_THAT(unreachable({"-> wan2", "host a.example -> office"}), ElementsAre("2<1"));
  EXPECT_THAT(unreachable({"host a.example client 10.0.0.0/8 -> wan2",
                           "client 10.1.0.0/16 host a.example -> office"}),
              ElementsAre("2<1"));
  EXPECT_THAT(unreachable({"port 80 -> wan2", "port 81 -> office", "host a -> wan2"}), IsEmpty());
}

// A flow whose name proves to be made up gets past the first rule and not past the second.
TEST(Check, leaves_what_denies_behind_the_same_negated_host) {
  EXPECT_THAT(unreachable({"not host a.example -> wan2", "not host a.example -> reject"}),
              IsEmpty());
  EXPECT_THAT(unreachable({"not host a.example -> reject", "not host a.example -> wan2"}),
              ElementsAre("2<1"));
  EXPECT_THAT(unreachable({"host a.example -> wan2", "host a.example -> reject"}),
              ElementsAre("2<1"));
}

TEST(Check, finds_rules_that_can_never_match) {
  EXPECT_THAT(kinds({"to 192.0.2.1 client 2001:db8::1 -> wan2"}), ElementsAre(Kind::never_matches));
  EXPECT_THAT(kinds({"in lan0 process curl -> wan2"}), ElementsAre(Kind::never_matches));
  EXPECT_THAT(kinds({"not in lan0 process curl -> wan2"}), IsEmpty());
  for (const char* never : {"port 80 port 443 -> wan2", "to 192.0.2.0/24 to 198.51.100.1 -> wan2",
                            "host a.example host b.example -> wan2", "proto udp method GET -> wan2",
                            "proto udp app ssh -> wan2", "proto tcp app quic -> wan2",
                            "app tls path /x -> wan2", "path /x?y -> wan2"}) {
    EXPECT_THAT(kinds({never}), ElementsAre(Kind::never_matches)) << never;
  }
  for (const char* fine :
       {"port 80-90 port 85 -> wan2", "to 192.0.2.0/24 to 192.0.2.7 -> wan2",
        "host *.example host a.example -> wan2", "host a.example host ~\"b\" -> wan2",
        "process curl process wget -> wan2", "proto udp app quic,tls -> wan2",
        "proto tcp method GET -> wan2", "app http,tls path /x -> wan2",
        "port 80 not port 443 -> wan2", "path ~\"[?]\" -> wan2"}) {
    EXPECT_THAT(kinds({fine}), IsEmpty()) << fine;
  }
}

TEST(Check, finds_values_that_are_there_already) {
  const auto findings = check(
      *compiled({"port 80,443,80 -> wan2 else office", "host *.a.example,x.a.example -> wan2"}));
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].kind, Kind::duplicate_value);
  EXPECT_EQ(findings[0].span.first, 12U);
  EXPECT_EQ(findings[1].message, "x.a.example is in *.a.example already");
}

TEST(Check, finds_unused_ways_out) {
  const auto findings = check(*compiled({"port 80 -> direct else office"}));
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].kind, Kind::unused_way_out);
  EXPECT_EQ(findings[0].message, "no rule uses the way out \"wan2\"");
}

std::string random_terms(std::mt19937& random) {
  const std::vector<std::string> terms = {
      "port 80",          "port 80-90",         "not port 80",
      "to 10.0.0.0/8",    "to 10.1.0.0/16",     "host a.example",
      "host *.example",   "not host a.example", "host a.example,b.example",
      "client 192.0.2.10"};
  std::string text;
  for (unsigned i = random() % 3; i > 0; --i) text += terms[random() % terms.size()] + " ";
  return text;
}

/// Whatever flow comes, a rule that is said to be unreachable does not decide.
TEST(Check, never_calls_a_rule_unreachable_that_decides) {
  std::mt19937 random(3);
  int found = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> texts;
    for (int i = 0; i < 8; ++i) {
      texts.push_back(random_terms(random) + (random() % 2 == 0 ? "-> direct" : "-> reject"));
    }
    const auto rules = compiled(texts);
    std::vector<bool> dead(rules->size() + 1);
    for (const Finding& finding : check(*rules)) {
      if (finding.kind != Kind::unreachable) continue;
      dead[finding.rule] = true;
      ++found;
    }
    for (const char* name : {"a.example", "b.example", "x.a.example", "other"}) {
      for (const char* to : {"10.1.0.1:80", "10.2.0.1:85", "198.51.100.1:443", "10.1.0.1:443"}) {
        for (const char* client : {"192.0.2.10:1", "192.0.2.11:1"}) {
          for (const bool verified : {true, false}) {
            const Facts facts = named(flow_to(to, client), name, verified);
            EXPECT_FALSE(dead[decide(*rules, facts, Wait::over).rule]);
          }
        }
      }
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(found, 100);
}

}  // namespace
}  // namespace shunt
