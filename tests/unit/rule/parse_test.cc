// SPDX-License-Identifier: GPL-2.0-only
#include "rule/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/limits.h"

namespace shunt {
namespace {

using testing::HasSubstr;

Rule parsed(std::string_view text) {
  auto rule = parse_rule(text);
  EXPECT_TRUE(rule) << text << ": " << (rule ? "" : rule.error().message);
  return rule ? *std::move(rule) : Rule{};
}

RuleMistake mistake(std::string_view text) {
  auto rule = parse_rule(text);
  EXPECT_FALSE(rule) << text;
  return rule ? RuleMistake{} : std::move(rule).error();
}

/// The part of the text that the mistake points at.
std::string_view pointed_at(std::string_view text) {
  const RuleMistake found = mistake(text);
  return text.substr(std::min(found.first, text.size()), found.length);
}

TEST(ParseRule, reads_terms_and_an_action) {
  const Rule rule = parsed("host *.Corp.example. port 443,8000-8080 -> office");
  ASSERT_EQ(rule.terms.size(), 2U);
  EXPECT_EQ(rule.terms[0].key, TermKey::host);
  EXPECT_EQ(rule.terms[0].values[0].form, ValueForm::subdomains);
  EXPECT_EQ(rule.terms[0].values[0].text, "corp.example");
  ASSERT_EQ(rule.terms[1].values.size(), 2U);
  EXPECT_EQ(rule.terms[1].values[1].low, 8000U);
  EXPECT_EQ(rule.terms[1].values[1].high, 8080U);
  ASSERT_EQ(rule.steps.size(), 1U);
  EXPECT_EQ(rule.steps[0].name, "office");
}

TEST(ParseRule, reads_every_term) {
  for (const char* term : {"host a.example,*.b.example,~\"^ads[0-9]\",@ads.txt",
                           "to 192.0.2.0/24,2001:db8::/32",
                           "client @\"my clients.txt\"",
                           "port 80",
                           "client-port 1-1023",
                           "proto tcp,udp",
                           "app http,tls,quic,dns,ssh,other",
                           "method GET,POST",
                           "path /,/api/*,~\"\\.php$\"",
                           "process \"Web Content\",curl",
                           "exe /usr/bin/*",
                           "uid 0,1000-2000,root",
                           "gid root",
                           "user root",
                           "cgroup /system.slice",
                           "classid 1:10,0x20010,7",
                           "unit nginx,cron.service",
                           "container web",
                           "in br-lan,eth1.7",
                           "country de,AT",
                           "asn AS64500,64501-64503",
                           "time mon-fri 08:00-17:30",
                           "time sat,sun",
                           "time 22:00-06:00"}) {
    EXPECT_EQ(parsed(std::string(term) + " -> direct").terms.size(), 1U) << term;
    EXPECT_TRUE(parsed("not " + std::string(term) + " -> direct").terms[0].negated) << term;
  }
}

TEST(ParseRule, without_terms_matches_everything) {
  EXPECT_TRUE(parsed("-> reject").terms.empty());
}

TEST(ParseRule, reads_a_chain_of_ways_out) {
  const Rule rule = parsed("client 192.0.2.7 -> wan2 else direct else drop");
  ASSERT_EQ(rule.steps.size(), 3U);
  EXPECT_EQ(rule.steps[1].name, "direct");
  EXPECT_EQ(rule.steps[2].name, "drop");
}

TEST(ParseRule, reads_when_a_client_is_let_in) {
  const Rule rule = parsed("port 25 -> wan2 else direct connect early");
  EXPECT_EQ(rule.steps.size(), 2U);
  EXPECT_EQ(rule.connect, ConnectMode::early);
  EXPECT_EQ(parsed("-> reject connect honest").connect, ConnectMode::honest);
  EXPECT_EQ(parsed("-> direct").connect, ConnectMode::automatic);
}

TEST(ParseRule, takes_blanks_behind_commas_and_no_blanks_at_the_arrow) {
  EXPECT_EQ(parsed("port 80,\t443->direct").terms[0].values.size(), 2U);
}

TEST(ParseRule, quotes_protect_blanks_commas_arrows_and_quotes) {
  EXPECT_EQ(parsed(R"(process "a, b -> \"c\" \\" -> direct)").terms[0].values[0].text,
            R"(a, b -> "c" \)");
  EXPECT_EQ(parsed(R"(host ~"^a\.\"b" -> direct)").terms[0].values[0].text, R"(^a\.\"b)");
}

TEST(ParseRule, times_are_minutes_of_the_week) {
  const Rule office = parsed("time mon-tue 08:00-12:00,13:00-17:30 -> direct");
  ASSERT_EQ(office.terms[0].values.size(), 4U);
  EXPECT_EQ(office.terms[0].values[0].low, 8U * 60);
  EXPECT_EQ(office.terms[0].values[0].high, 12U * 60 - 1);
  EXPECT_EQ(office.terms[0].values[3].low, kMinutesPerDay + 13 * 60);
  const Rule night = parsed("time sun 22:00-06:00 -> direct");
  ASSERT_EQ(night.terms[0].values.size(), 2U);
  EXPECT_EQ(night.terms[0].values[0].low, 6 * kMinutesPerDay + 22 * 60);
  EXPECT_EQ(night.terms[0].values[0].high, kMinutesPerWeek - 1);
  EXPECT_EQ(night.terms[0].values[1].low, 0U);
  EXPECT_EQ(night.terms[0].values[1].high, 6U * 60 - 1);
  EXPECT_EQ(parsed("time sat-mon -> direct").terms[0].values.size(), 3U);
  EXPECT_EQ(parsed("time 00:00-24:00 -> direct").terms[0].values.size(), 7U);
}

TEST(ParseRule, mapped_addresses_are_ipv4) {
  EXPECT_EQ(parsed("to ::ffff:192.0.2.0/120 -> direct").terms[0].values[0].network.text(),
            "192.0.2.0/24");
}

TEST(ParseRule, mistakes_are_pointed_at) {
  EXPECT_EQ(pointed_at("port 80 hots a -> direct"), "hots");
  EXPECT_EQ(mistake("port 80 hots a -> direct").suggestion, "host");
  EXPECT_EQ(pointed_at("host a,b..c -> direct"), "b..c");
  EXPECT_EQ(pointed_at("app htpp -> direct"), "htpp");
  EXPECT_EQ(mistake("app htpp -> direct").suggestion, "http");
  EXPECT_EQ(pointed_at("method get -> direct"), "get");
  EXPECT_EQ(mistake("method get -> direct").suggestion, "GET");
  EXPECT_EQ(pointed_at("process \"curl -> direct"), "\"");
  EXPECT_EQ(pointed_at("port 80 -> direct esle drop"), "esle");
  EXPECT_EQ(mistake("port 80 -> direct esle drop").suggestion, "else");
  EXPECT_EQ(pointed_at("-> direct connect erly"), "erly");
  EXPECT_EQ(mistake("-> direct connect erly").suggestion, "early");
  EXPECT_EQ(pointed_at("time mon-fry 08:00-09:00 -> direct"), "mon-fry");
  EXPECT_EQ(pointed_at("time mon 8:00-09:00 -> direct"), "8:00-09:00");
}

TEST(ParseRule, says_what_was_probably_meant) {
  EXPECT_THAT(mistake("host 10.0.0.0/8 -> direct").help, HasSubstr("to 10.0.0.0/8"));
  EXPECT_THAT(mistake("to www.example -> direct").help, HasSubstr("host www.example"));
  EXPECT_THAT(mistake("host münchen.example -> direct").help, HasSubstr("xn--"));
  EXPECT_THAT(mistake("host ads*.example -> direct").help, HasSubstr("~\"PATTERN\""));
  EXPECT_THAT(mistake("port 80 443 -> direct").message, HasSubstr("commas"));
  EXPECT_THAT(mistake("port 80").help, HasSubstr("-> direct"));
}

TEST(ParseRule, refuses_malformed_text) {
  for (const char* text : {"",
                           " ",
                           "->",
                           "-> ",
                           "port -> direct",
                           "not -> direct",
                           "not not port 80 -> direct",
                           "port 80, -> direct",
                           "port ,80 -> direct",
                           "host ~ads -> direct",
                           "host \"a\"b -> direct",
                           "port ~\"80\" -> direct",
                           "port @ports -> direct",
                           "host * -> direct",
                           "host a*.example -> direct",
                           "path api -> direct",
                           "path /a/*/b -> direct",
                           "country DEU -> direct",
                           "asn ASX -> direct",
                           "time 08:00 -> direct",
                           "time 24:00-08:00 -> direct",
                           "time 25:00-26:00 -> direct",
                           "time 08:00-08:00 -> direct",
                           "time mon, -> direct",
                           "time -> direct",
                           "process \"a\\b\" -> direct",
                           "-> a else",
                           "-> a else a",
                           "-> reject else a",
                           "-> a b",
                           "-> a connect",
                           "-> a connect late",
                           "-> a connect early else b",
                           "-> a/b",
                           "-> a -> b",
                           "port 80\n-> direct",
                           "in a\"b -> direct",
                           "cgroup system.slice -> direct"}) {
    EXPECT_FALSE(mistake(text).message.empty()) << text;
  }
}

TEST(ParseRule, suggests_what_was_meant) {
  for (const auto& [text, term] :
       {std::pair("protocol tcp -> direct", "proto"), std::pair("interface lan0 -> direct", "in"),
        std::pair("src 192.0.2.1 -> direct", "client"),
        std::pair("dst 192.0.2.1 -> direct", "to")}) {
    EXPECT_EQ(mistake(text).suggestion, term) << text;
  }
  EXPECT_EQ(mistake("app smtp -> direct").message,
            "unknown application protocol \"smtp\": http, tls, quic, dns, ssh, other");
  for (const char* text :
       {"to 10.0.0 -> direct", "to 10.0.0.1-10.0.0.9 -> direct", "client 10.* -> direct"}) {
    EXPECT_THAT(mistake(text).help, HasSubstr("10.0.0.0/8")) << text;
  }
  EXPECT_THAT(mistake("to a.example -> direct").help, HasSubstr("host a.example"));
  EXPECT_EQ(mistake("-> reject # x").message, "nothing can come after \"reject\"");
  EXPECT_EQ(mistake("-> a # x").message,
            "nothing but \"else\" or \"connect\" can follow a way out");
}

TEST(ParseRule, is_bounded) {
  std::string values = "port 1";
  for (std::size_t i = 1; i <= limits::kTermValues; ++i) values += ",1";
  EXPECT_THAT(mistake(values + " -> direct").help, HasSubstr("@FILE"));
  std::string terms;
  for (std::size_t i = 0; i <= limits::kRuleTerms; ++i) terms += "port 1 ";
  EXPECT_THAT(mistake(terms + "-> direct").message, HasSubstr("terms"));
  EXPECT_THAT(mistake(std::string(limits::kRuleBytes + 1, ' ')).message, HasSubstr("bytes"));
}

TEST(ParseTerms, takes_no_action) {
  EXPECT_TRUE(parse_terms("port 80"));
  EXPECT_FALSE(parse_terms("port 80 -> direct"));
  EXPECT_FALSE(parse_terms(""));
}

TEST(MistakeError, shows_the_line_of_the_file) {
  const std::string text = "client 192.168.1.50 port 80 -> wan22";
  const RuleMistake wrong{.first = 31,
                          .length = 5,
                          .message = "unknown way out \"wan22\"",
                          .suggestion = "wan2",
                          .help = {},
                          .number = error_number::kUnknownWayOut};
  const RulePlace place{
      .file = "/etc/shunt/shunt.toml", .line = 14, .column = 4, .line_text = "  \"" + text + "\","};
  const Error error = mistake_error(wrong, text, place);
  EXPECT_EQ(error.number, error_number::kUnknownWayOut);
  EXPECT_EQ(error.place,
            "/etc/shunt/shunt.toml:14:35\n"
            "14 |   \"client 192.168.1.50 port 80 -> wan22\",\n"
            "   |                                   ^^^^^ did you mean \"wan2\"?");
}

TEST(MistakeError, shows_the_line_as_it_was_written) {
  const RuleMistake wrong{
      .first = 17, .length = 4, .message = "unknown term", .suggestion = {}, .help = {}};
  EXPECT_EQ(
      mistake_error(wrong, "path ~\"\\.php$\"\t\t prot", {.file = "--rule", .line_text = {}}).place,
      "--rule\n | path ~\"\\.php$\"   prot\n |                  ^^^^");
}

TEST(MistakeError, shows_the_rule_where_there_is_no_file) {
  const RuleMistake wrong{
      .first = 0, .length = 4, .message = "unknown term", .suggestion = {}, .help = {}};
  EXPECT_EQ(mistake_error(wrong, "prot tcp", {.file = "--rule", .line_text = {}}).place,
            "--rule\n | prot tcp\n | ^^^^");
}

}  // namespace
}  // namespace shunt
