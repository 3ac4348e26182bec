// SPDX-License-Identifier: GPL-2.0-only
#include "policy/decide.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "unit/policy/rules_fixture.h"

namespace shunt {
namespace {

constexpr std::string_view kWeb = "198.51.100.7:443";

std::uint32_t rule_for(const Rules& rules, const Facts& facts) {
  const Decision decision = decide(*rules, facts, Wait::over);
  EXPECT_FALSE(decision.needs.any());
  return decision.rule;
}

Facts process_facts() {
  Facts facts = flow_to(kWeb);
  facts.interface = "";
  facts.process = {.state = FactState::known,
                   .name = "curl",
                   .uid = 1000,
                   .gid = 100,
                   .exe = "/usr/bin/curl",
                   .cgroup = "/system.slice/nginx.service/worker",
                   .classid = 0x10010,
                   .unit = "nginx.service",
                   .container = ""};
  return facts;
}

TEST(Decide, takes_the_first_rule_that_matches) {
  const auto rules = compiled({"port 80 -> wan2", "port 443 -> office", "port 443 -> reject"});
  EXPECT_EQ(rule_for(rules, flow_to(kWeb)), 2U);
  EXPECT_EQ(rules->verdict_text(2), "office");
  EXPECT_EQ(rule_for(rules, flow_to("198.51.100.7:22")), 0U);
  EXPECT_EQ(rules->verdict_text(0), "direct");
}

TEST(Decide, compares_hosts_by_name_and_by_domain) {
  const auto rules = compiled({"host www.a.example -> wan2", "host *.a.example -> office",
                               "host ~\"^ads[0-9]+\\.\" -> reject"});
  EXPECT_EQ(rule_for(rules, named(flow_to(kWeb), "www.a.example")), 1U);
  EXPECT_EQ(rule_for(rules, named(flow_to(kWeb), "x.y.a.example")), 2U);
  EXPECT_EQ(rule_for(rules, named(flow_to(kWeb), "a.example")), 0U);
  EXPECT_EQ(rule_for(rules, named(flow_to(kWeb), "xa.example")), 0U);
  EXPECT_EQ(rule_for(rules, named(flow_to(kWeb), "ads12.b.example")), 3U);
  EXPECT_EQ(rule_for(rules, named(flow_to(kWeb), "ads.b.example")), 0U);
}

TEST(Decide, compares_networks_of_both_families) {
  const auto rules = compiled({"to 198.51.100.0/24 not to 198.51.100.8 -> wan2",
                               "client 2001:db8::/32 -> office", "to 0.0.0.0/0 -> reject"});
  EXPECT_EQ(rule_for(rules, flow_to(kWeb)), 1U);
  EXPECT_EQ(rule_for(rules, flow_to("198.51.100.8:443")), 3U);
  EXPECT_EQ(rule_for(rules, flow_to("[2001:db8:1::1]:443", "[2001:db8::9]:1234")), 2U);
  EXPECT_EQ(rule_for(rules, flow_to("[2001:db8:1::1]:443", "[2001:db9::9]:1234")), 0U);
}

TEST(Decide, compares_ports_and_protocols) {
  const auto rules = compiled(
      {"proto udp port 53,123 -> wan2", "client-port 1-1023 -> office", "not port 443 -> reject"});
  Facts dns = flow_to("198.51.100.7:53");
  dns.protocol = Protocol::udp;
  EXPECT_EQ(rule_for(rules, dns), 1U);
  EXPECT_EQ(rule_for(rules, flow_to(kWeb, "192.0.2.10:1023")), 2U);
  EXPECT_EQ(rule_for(rules, flow_to("198.51.100.7:53")), 3U);
  EXPECT_EQ(rule_for(rules, flow_to(kWeb)), 0U);
}

TEST(Decide, compares_what_the_first_bytes_say) {
  const auto rules = compiled(
      {"app tls -> wan2", "method POST path /api/* -> office", "path ~\"\\.exe$\" -> reject"});
  Facts facts = flow_to(kWeb);
  facts.app = {.state = FactState::known, .app = AppProtocol::tls};
  EXPECT_EQ(rule_for(rules, facts), 1U);
  facts.app.app = AppProtocol::http;
  facts.http = {.state = FactState::known, .method = "POST", .path = "/api/x"};
  EXPECT_EQ(rule_for(rules, facts), 2U);
  facts.http = {.state = FactState::known, .method = "GET", .path = "/a.exe"};
  EXPECT_EQ(rule_for(rules, facts), 3U);
}

TEST(Decide, compares_the_process) {
  const Facts facts = process_facts();
  for (const std::string term :
       {"process curl", "exe /usr/bin/*", "uid 1000", "gid 1-200", "cgroup /system.slice",
        "cgroup /", "classid 1:10", "unit nginx", "process ~\"^cu\""}) {
    EXPECT_EQ(rule_for(compiled({term + " -> wan2"}), facts), 1U) << term;
    EXPECT_EQ(rule_for(compiled({"not " + term + " -> wan2"}), facts), 0U) << term;
  }
  for (const std::string term : {"process wget", "cgroup /system", "classid 1:11", "uid 0",
                                 "unit nginx.slice", "container web", "in lan0"}) {
    EXPECT_EQ(rule_for(compiled({term + " -> wan2"}), facts), 0U) << term;
    EXPECT_EQ(rule_for(compiled({"not " + term + " -> wan2"}), facts), 1U) << term;
  }
}

TEST(Decide, names_a_process_by_its_program_too) {
  Facts facts = process_facts();
  facts.process.name = "a-name-that-is-";  // 15 bytes of it
  facts.process.exe = "/opt/a-name-that-is-long";
  EXPECT_EQ(rule_for(compiled({"process a-name-that-is-long -> wan2"}), facts), 1U);
}

TEST(Decide, what_hides_its_program_is_not_another_process) {
  Facts facts = process_facts();
  facts.process.exe = std::nullopt;  // this user may not read it
  EXPECT_EQ(rule_for(compiled({"process curl -> wan2"}), facts), 1U);
  EXPECT_EQ(rule_for(compiled({"process wget -> wan2"}), facts), 0U);
  EXPECT_EQ(rule_for(compiled({"not process wget -> wan2"}), facts), 0U);
}

TEST(Decide, compares_the_time_of_the_week) {
  const auto rules =
      compiled({"time mon-fri 08:00-17:30 -> wan2", "time sat 22:00-06:00 -> office"});
  const auto at = [&](std::uint32_t day, std::uint32_t hour, std::uint32_t minute) {
    Facts facts = flow_to(kWeb);
    facts.minute_of_week = (day * 24 + hour) * 60 + minute;
    return rule_for(rules, facts);
  };
  EXPECT_EQ(at(0, 8, 0), 1U);
  EXPECT_EQ(at(4, 17, 29), 1U);
  EXPECT_EQ(at(4, 17, 30), 0U);
  EXPECT_EQ(at(5, 8, 0), 0U);
  EXPECT_EQ(at(5, 23, 59), 2U);
  EXPECT_EQ(at(6, 5, 59), 2U);
  EXPECT_EQ(at(6, 6, 0), 0U);
}

TEST(Decide, waits_for_a_name_only_if_a_rule_that_may_match_needs_it) {
  const auto rules = compiled({"host a.example port 443 -> wan2", "port 22 -> office"});
  EXPECT_EQ(decide(*rules, flow_to(kWeb)).needs.bits, Needs::kName);
  const Decision ssh = decide(*rules, flow_to("198.51.100.7:22"));
  EXPECT_FALSE(ssh.needs.any());
  EXPECT_EQ(ssh.rule, 2U);
}

TEST(Decide, does_not_wait_for_what_comes_behind_a_match) {
  const auto rules = compiled({"port 443 -> wan2", "host a.example -> reject"});
  EXPECT_EQ(decide(*rules, flow_to(kWeb)).rule, 1U);
}

TEST(Decide, says_everything_that_it_lacks_at_once) {
  const auto rules =
      compiled({"process curl -> wan2", "not app tls -> office", "path / host a.example -> wan2",
                "port 443 -> direct", "unit cron -> drop"});
  EXPECT_EQ(decide(*rules, flow_to(kWeb)).needs.bits,
            Needs::kProcess | Needs::kApp | Needs::kHttp | Needs::kName);
  EXPECT_EQ(decide(*rules, flow_to(kWeb), Wait::over).rule, 4U);
}

TEST(Decide, a_fact_that_never_comes_satisfies_neither_a_term_nor_its_negation) {
  for (const char* term : {"host a.example", "app tls", "method GET", "process curl", "uid 0",
                           "unit cron", "in br-lan"}) {
    const auto rules =
        compiled({std::string(term) + " -> wan2", "not " + std::string(term) + " -> wan2"});
    EXPECT_EQ(rule_for(rules, flow_to(kWeb)), 0U) << term;
  }
}

TEST(Decide, does_not_wait_for_http_in_another_protocol) {
  const auto rules = compiled({"path / -> wan2"});
  Facts facts = flow_to(kWeb);
  EXPECT_TRUE(decide(*rules, facts).needs.has(Needs::kHttp));
  facts.app = {.state = FactState::known, .app = AppProtocol::tls};
  EXPECT_FALSE(decide(*rules, facts).needs.any());
}

TEST(Decide, knows_a_uid_before_the_process) {
  const auto rules = compiled({"uid 1000 -> wan2"});
  Facts facts = flow_to(kWeb);
  EXPECT_TRUE(decide(*rules, facts).needs.has(Needs::kProcess));
  facts.process.uid = 1000;
  EXPECT_EQ(decide(*rules, facts).rule, 1U);
}

TEST(Decide, of_rules_that_differ_in_hosts_alone_all_may_match_while_the_name_is_unknown) {
  std::vector<std::string> texts;
  for (int i = 0; i < 20; ++i) {
    texts.push_back("host h" + std::to_string(i) + ".example client 192.0.2.0/24 -> wan2");
    texts.push_back("host h" + std::to_string(i) + ".example client 203.0.113.0/24 -> office");
  }
  texts.emplace_back("port 443 -> reject");
  const auto rules = compiled(texts);
  EXPECT_TRUE(decide(*rules, flow_to(kWeb)).needs.has(Needs::kName));
  EXPECT_EQ(decide(*rules, flow_to(kWeb, "198.51.100.1:1")).rule, 41U);
  EXPECT_EQ(rule_for(rules, named(flow_to(kWeb), "h7.example")), 15U);
  EXPECT_EQ(rule_for(rules, named(flow_to(kWeb, "203.0.113.9:1"), "h7.example")), 16U);
  EXPECT_EQ(rule_for(rules, flow_to(kWeb)), 41U);
}

TEST(Decide, an_unverified_name_denies) {
  const auto rules = compiled({"host ads.example -> reject"});
  EXPECT_EQ(decide(*rules, named(flow_to(kWeb), "ads.example", false)).rule, 1U);
}

TEST(Decide, an_unverified_name_does_not_permit) {
  const auto rules = compiled({"host good.example -> direct"}, "reject");
  const Facts facts = named(flow_to(kWeb), "good.example", false);
  EXPECT_EQ(decide(*rules, facts).needs.bits, Needs::kVerification);
  const Decision late = decide(*rules, facts, Wait::over);
  EXPECT_EQ(late.rule, 0U);
  EXPECT_TRUE(late.name_mismatch);
  EXPECT_EQ(decide(*rules, named(flow_to(kWeb), "good.example", true)).rule, 1U);
}

TEST(Decide, an_unverified_name_does_not_escape_a_rule_for_all_other_names) {
  const auto rules = compiled({"not host good.example -> reject"});
  const Facts facts = named(flow_to(kWeb), "good.example", false);
  EXPECT_EQ(decide(*rules, facts).needs.bits, Needs::kVerification);
  EXPECT_TRUE(decide(*rules, facts, Wait::over).name_mismatch);
  EXPECT_EQ(decide(*rules, named(flow_to(kWeb), "good.example", true)).rule, 0U);
}

TEST(Decide, an_unverified_name_chooses_among_ways_out) {
  const auto rules = compiled({"host good.example -> wan2"});
  const Decision decision = decide(*rules, named(flow_to(kWeb), "good.example", false));
  EXPECT_EQ(decision.rule, 1U);
  EXPECT_FALSE(decision.name_mismatch);
}

TEST(Verdict, is_a_chain_of_ways_out) {
  const auto rules = compiled({"-> wan2 else direct else drop", "-> drop"});
  const Verdict& chain = rules->verdict(1);
  EXPECT_EQ(chain.kind, Verdict::Kind::carry);
  EXPECT_EQ(chain.ways, (std::vector<std::uint16_t>{1, Ruleset::kDirectWay}));
  EXPECT_TRUE(chain.drop_if_all_fail);
  EXPECT_EQ(rules->verdict_text(1), "wan2 else direct else drop");
  EXPECT_EQ(rules->verdict(2).kind, Verdict::Kind::drop);
}

TEST(MinuteOfWeek, begins_on_monday) {
  ::setenv("TZ", "UTC0", 1);  // NOLINT(concurrency-mt-unsafe)
  ::tzset();
  EXPECT_EQ(minute_of_week(4 * 86400), 0U);  // 1970-01-05 was a Monday
  EXPECT_EQ(minute_of_week(4 * 86400 - 60), kMinutesPerWeek - 1);
}

}  // namespace
}  // namespace shunt
