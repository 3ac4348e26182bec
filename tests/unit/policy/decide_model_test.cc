// SPDX-License-Identifier: GPL-2.0-only
// decide() against a slow model that shares nothing with it: it reads the rules' texts word by word
// and looks at every rule. Names, addresses and what ties them together in all combinations.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "policy/decide.h"
#include "unit/policy/rules_fixture.h"

namespace shunt {
namespace {

using Texts = std::vector<std::string>;

/// Three rules' worth of grammar: [not] host|to|port VALUE{,VALUE} … -> ACTION.
struct Model {
  std::string name;  // "" = none
  std::string address;
  std::string port;

  [[nodiscard]] bool host_is(const std::string& value) const {
    if (!value.starts_with("*.")) return name == value;
    const std::string tail = value.substr(1);
    return name.size() > tail.size() && name.ends_with(tail);
  }
  [[nodiscard]] bool holds(const std::string& key, const std::string& value) const {
    if (key == "host") return host_is(value);
    return key == "to" ? address == value : port == value;
  }
  [[nodiscard]] bool any_holds(const std::string& key, const std::string& values) const {
    std::istringstream list(values);
    for (std::string value; std::getline(list, value, ',');) {
      if (holds(key, value)) return true;
    }
    return false;
  }
  /// With `trusted` false as if the client had made the name up.
  [[nodiscard]] bool matches(const std::string& text, bool trusted) const {
    const bool denies = text.ends_with("reject") || text.ends_with("drop");
    std::istringstream words(text);
    bool negated = false;
    for (std::string key; words >> key && key != "->";) {
      if (key == "not") {
        negated = true;
        continue;
      }
      std::string values;
      words >> values;
      bool yes = any_holds(key, values) != negated;
      if (key == "host" && name.empty()) yes = false;
      if (key == "host" && !name.empty() && !trusted) yes = negated && denies;
      if (!yes) return false;
      negated = false;
    }
    return true;
  }
  /// The rule from 1, and its action.
  [[nodiscard]] std::pair<std::uint32_t, std::string> first(const Texts& rules,
                                                            const std::string& fallback,
                                                            bool trusted) const {
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (!matches(rules[i], trusted)) continue;
      return {static_cast<std::uint32_t>(i + 1), rules[i].substr(rules[i].find("-> ") + 3)};
    }
    return {0, fallback};
  }
};

bool denied(const std::string& action) { return action == "reject" || action == "drop"; }

struct Expected {
  std::uint32_t rule = 0;
  bool mismatch = false;
};

Expected expected(const Model& flow, const Texts& rules, const std::string& fallback,
                  bool verified) {
  const auto told = flow.first(rules, fallback, true);
  if (flow.name.empty() || verified || denied(told.second)) return {told.first, false};
  const auto doubted = flow.first(rules, fallback, false);
  return denied(doubted.second) ? Expected{doubted.first, true} : Expected{told.first, false};
}

const std::vector<std::pair<Texts, std::string>> kPolicies = {
    {{"host good.example -> direct"}, "reject"},
    {{"host bad.example -> reject"}, "direct"},
    {{"not host good.example,*.good.example -> drop"}, "direct"},
    {{"not host bad.example -> direct"}, "reject"},
    {{"host *.good.example port 443 -> wan2", "to 198.51.100.1 -> reject"}, "direct"},
    {{"to 198.51.100.2 host good.example -> office", "to 198.51.100.2 -> drop"}, "wan2"},
    {{"host bad.example,*.bad.example -> drop", "port 443 -> direct"}, "reject"},
    {{"host good.example not to 198.51.100.1 -> direct", "not host good.example -> reject"},
     "office"},
    {{"host good.example -> wan2", "host bad.example -> office"}, "direct"},
    {{"to 198.51.100.3 -> direct", "host www.good.example -> direct", "port 80 -> reject"}, "drop"},
};
const Texts kNames = {"", "good.example", "www.good.example", "bad.example", "other.example"};
const Texts kAddresses = {"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4",
                          "2001:db8::1"};
/// What DNS would say.
const std::multimap<std::string, std::string> kTruth = {{"good.example", "198.51.100.1"},
                                                        {"www.good.example", "198.51.100.2"},
                                                        {"bad.example", "198.51.100.3"},
                                                        {"good.example", "2001:db8::1"}};

bool is_true(const std::string& name, const std::string& address) {
  const auto [first, last] = kTruth.equal_range(name);
  return std::any_of(first, last, [&](const auto& entry) { return entry.second == address; });
}

Facts facts_of(const Model& flow, NameSource source, bool verified) {
  Facts facts = flow_to("198.51.100.1:1");
  facts.destination = {*Address::parse(flow.address),
                       static_cast<std::uint16_t>(std::stoi(flow.port))};
  if (flow.name.empty()) {
    facts.name.state = FactState::never;
  } else {
    facts = named(facts, flow.name, verified);
    facts.name.source = source;
  }
  return facts;
}

void compare(const Rules& rules, const Texts& texts, const std::string& fallback, const Model& flow,
             NameSource source) {
  const bool verified = is_true(flow.name, flow.address);
  const Expected wanted = expected(flow, texts, fallback, verified);
  const Facts facts = facts_of(flow, source, verified);
  const Decision late = decide(*rules, facts, Wait::over);
  EXPECT_EQ(late.rule, wanted.rule) << flow.name << " " << flow.address << " " << texts.front();
  EXPECT_EQ(late.name_mismatch, wanted.mismatch) << flow.name << " " << flow.address;
  const Decision early = decide(*rules, facts);
  EXPECT_EQ(early.needs.bits, wanted.mismatch ? Needs::kVerification : 0);
}

TEST(DecideModel, five_hundred_combinations_of_names_and_addresses) {
  int combinations = 0;
  for (const auto& [texts, fallback] : kPolicies) {
    const auto rules = compiled(texts, fallback);
    for (const std::string& name : kNames) {
      for (const std::string& address : kAddresses) {
        for (const auto source : {NameSource::http_host, NameSource::tls_sni}) {
          const std::string port = source == NameSource::tls_sni ? "443" : "80";
          compare(rules, texts, fallback, {.name = name, .address = address, .port = port}, source);
          ++combinations;
        }
      }
    }
  }
  EXPECT_EQ(combinations, 500);
}

std::string random_rule(std::mt19937& random) {
  const auto pick = [&random](const Texts& from) { return from[random() % from.size()]; };
  std::string text;
  const unsigned terms = random() % 4;
  for (unsigned i = 0; i < terms; ++i) {
    if (random() % 4 == 0) text += "not ";
    switch (random() % 3) {
      case 0: text += "host " + pick({"good.example", "*.good.example", "bad.example"}); break;
      case 1: text += "to " + pick(kAddresses); break;
      default: text += "port " + pick({"80", "443", "80,443"});
    }
    if (random() % 3 == 0 && text.ends_with(".example")) text += "," + pick({"a.example", "b.c"});
    text += " ";
  }
  return text + "-> " + pick({"direct", "reject", "drop", "wan2"});
}

TEST(DecideModel, random_rules_give_what_the_model_gives) {
  std::mt19937 random(1);
  for (int round = 0; round < 400; ++round) {
    Texts texts;
    for (unsigned i = 0; i < 1 + random() % 12; ++i) texts.push_back(random_rule(random));
    const std::string fallback = round % 2 == 0 ? "direct" : "reject";
    const auto rules = compiled(texts, fallback);
    for (const std::string& name : kNames) {
      for (const std::string& address : kAddresses) {
        compare(rules, texts, fallback, {.name = name, .address = address, .port = "443"},
                NameSource::tls_sni);
      }
    }
    if (HasFailure()) return;
  }
}

/// What is decided early must be what is decided once everything is known.
TEST(DecideModel, more_facts_do_not_change_a_decision) {
  std::mt19937 random(2);
  for (int round = 0; round < 400; ++round) {
    Texts texts;
    for (unsigned i = 0; i < 1 + random() % 12; ++i) texts.push_back(random_rule(random));
    const auto rules = compiled(texts, "reject");
    for (const std::string& address : kAddresses) {
      Facts facts = flow_to("198.51.100.1:443");
      facts.destination.address = *Address::parse(address);
      const Decision early = decide(*rules, facts);
      if (early.needs.any()) continue;
      for (const std::string& name : kNames) {
        EXPECT_EQ(decide(*rules, named(facts, name, true), Wait::over).rule, early.rule);
      }
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace shunt
