// SPDX-License-Identifier: GPL-2.0-only
// Ruleset::compile(): what it reads, and what it refuses.
#include "policy/ruleset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "policy/decide.h"
#include "unit/policy/mmdb_writer.h"
#include "unit/policy/rules_fixture.h"

namespace shunt {
namespace {

using testing::HasSubstr;

std::vector<Error> mistakes(PolicySource source) {
  auto rules = Ruleset::compile(std::move(source));
  EXPECT_FALSE(rules);
  return rules ? std::vector<Error>{} : std::move(rules).error();
}

Error mistake(std::string text) {
  auto found = mistakes(policy_source({std::move(text)}));
  return found.empty() ? Error{} : found.front();
}

class RulesetFiles : public testing::Test {
 protected:
  RulesetFiles() { std::filesystem::create_directory(folder_); }
  ~RulesetFiles() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
  }
  [[nodiscard]] PolicySource source(std::vector<std::string> texts) const {
    PolicySource out = policy_source(std::move(texts));
    out.folder = folder_;
    return out;
  }

  std::string folder_ = testing::TempDir() + "shunt-rules-" + std::to_string(::getpid());
};

TEST(Ruleset, of_an_unknown_way_out_suggests_one) {
  const Error error = mistake("port 80 -> wan22");
  EXPECT_EQ(error.number, error_number::kUnknownWayOut);
  EXPECT_THAT(error.place, HasSubstr("^^^^^ did you mean \"wan2\"?"));
  EXPECT_THAT(mistake("port 80 -> wan2 else ofice").place, HasSubstr("\"office\""));
  EXPECT_THAT(mistake("port 80 -> rejcet").place, HasSubstr("\"reject\""));
}

TEST(Ruleset, of_a_bad_pattern_says_what_is_wrong_with_it) {
  const Error error = mistake("host ~\"ads(\" -> reject");
  EXPECT_EQ(error.number, error_number::kBadRule);
  EXPECT_THAT(error.message, HasSubstr("pattern"));
  EXPECT_THAT(error.place, HasSubstr("^^^^^^^"));
  EXPECT_THAT(mistake("path ~\"(a{500}){500}\" -> reject").message, HasSubstr("pattern"));
}

TEST(Ruleset, of_too_many_patterns_says_so_whatever_they_are_of) {
  for (const std::string key : {"host", "path", "process", "exe"}) {
    std::string text = key + " ~\"a\"";
    for (std::size_t i = 1; i < limits::kRulePatterns; ++i) text += ",~\"a\"";
    EXPECT_TRUE(Ruleset::compile(policy_source({text + " -> wan2"}))) << key;
    EXPECT_THAT(mistake(text + ",~\"b\" -> wan2").message, HasSubstr("more than 2000 patterns"));
  }
}

TEST(Ruleset, of_unknown_accounts_says_so) {
  EXPECT_THAT(mistake("user no-such-user-here -> wan2").message, HasSubstr("no user"));
  EXPECT_THAT(mistake("gid no-such-group-here -> wan2").message, HasSubstr("no group"));
}

TEST(Ruleset, of_countries_needs_a_database) {
  EXPECT_EQ(mistake("country DE -> wan2").number, error_number::kAddressDatabase);
  EXPECT_EQ(mistake("asn 64500 -> wan2").number, error_number::kAddressDatabase);
}

TEST(Ruleset, reports_all_mistakes_up_to_a_limit) {
  const auto found =
      mistakes(policy_source({"port 80 -> a", "port 80 -> wan2", "prot 80 -> wan2"}));
  EXPECT_EQ(found.size(), 2U);
  const auto many = mistakes(policy_source(std::vector<std::string>(100, "prot 80 -> wan2")));
  EXPECT_EQ(many.size(), limits::kRuleMistakes);
}

TEST(Ruleset, of_a_bad_fallback_points_at_it) {
  const auto found = mistakes(policy_source({}, "direct else wan22"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found.front().place, HasSubstr(" | direct else wan22\n |             ^^^^^"));
}

TEST(Ruleset, knows_which_terms_it_uses) {
  const auto rules = compiled({"not host a.example -> wan2", "time sat -> wan2"});
  EXPECT_TRUE(rules->uses(TermKey::host));
  EXPECT_TRUE(rules->uses_time());
  EXPECT_FALSE(rules->uses(TermKey::process));
}

TEST_F(RulesetFiles, of_names_and_networks_are_used) {
  write("ads.txt", "0.0.0.0 ads.example\n*.track.example\n");
  write("nets.txt", "198.51.100.0/24\n");
  const auto rules =
      compiled(source({"host @ads.txt -> reject", "not host @ads.txt to @nets.txt -> wan2",
                       "client @\"" + folder_ + "/nets.txt\" -> office"}));
  const Facts flow = flow_to("198.51.100.7:443");
  EXPECT_EQ(decide(*rules, named(flow, "ads.example")).rule, 1U);
  EXPECT_EQ(decide(*rules, named(flow, "a.b.track.example")).rule, 1U);
  EXPECT_EQ(decide(*rules, named(flow, "track.example")).rule, 2U);
  EXPECT_EQ(decide(*rules, flow_to("203.0.113.1:1", "198.51.100.2:1"), Wait::over).rule, 3U);
  EXPECT_EQ(rules->files().size(), 2U);  // each read once
}

TEST_F(RulesetFiles, that_change_are_seen) {
  write("ads.txt", "ads.example\n");
  const auto rules = compiled(source({"host @ads.txt -> reject"}));
  ASSERT_EQ(rules->files().size(), 1U);
  EXPECT_FALSE(rules->outdated());
  write("ads.txt", "ads.example\nmore.example\n");
  EXPECT_TRUE(rules->outdated());
  std::filesystem::remove(folder_ + "/ads.txt");
  EXPECT_TRUE(rules->files()[0].changed());
}

TEST_F(RulesetFiles, that_cannot_be_used_are_pointed_at) {
  const auto missing = mistakes(source({"host @no.txt -> reject"}));
  ASSERT_EQ(missing.size(), 1U);
  EXPECT_EQ(missing[0].number, error_number::kListFile);
  EXPECT_THAT(missing[0].place, HasSubstr("^^^^^^^"));
  EXPECT_THAT(missing[0].message, HasSubstr("no.txt"));
  write("bad.txt", "good.example\nno name\n");
  const auto bad = mistakes(source({"host @bad.txt -> reject"}));
  ASSERT_EQ(bad.size(), 1U);
  EXPECT_THAT(bad[0].place, HasSubstr("bad.txt:2:4"));
  EXPECT_FALSE(Ruleset::compile(source({"host @. -> reject"})));  // a folder
}

TEST_F(RulesetFiles, of_countries_and_systems_are_used) {
  mmdb::Writer countries(24, 6);
  countries.add("198.51.100.0/24", mmdb::country("DE"));
  write("country.mmdb", countries.bytes());
  mmdb::Writer systems(24, 6);
  systems.add("198.51.100.0/24", mmdb::map({{"autonomous_system_number", mmdb::number(64500)}}));
  write("asn.mmdb", systems.bytes());
  PolicySource both = source({"country at,de asn AS64499 -> wan2", "country DE -> office",
                              "not asn 64500 -> drop", "not country DE -> reject"});
  both.country_file = folder_ + "/country.mmdb";
  both.asn_file = folder_ + "/asn.mmdb";
  const auto rules = compiled(std::move(both));
  EXPECT_EQ(decide(*rules, flow_to("198.51.100.7:443")).rule, 2U);
  EXPECT_EQ(decide(*rules, flow_to("203.0.113.7:443")).rule, 0U);  // in no database: neither
  EXPECT_EQ(rules->files().size(), 2U);
}

TEST_F(RulesetFiles, that_are_no_database_are_an_error) {
  write("country.mmdb", "nothing");
  PolicySource bad = source({"country DE -> office"});
  bad.country_file = folder_ + "/country.mmdb";
  const auto found = mistakes(std::move(bad));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].number, error_number::kAddressDatabase);
}

}  // namespace
}  // namespace shunt
