// SPDX-License-Identifier: GPL-2.0-only
// What a decision costs with 100,000 hosts, 10,000 networks and 200 patterns: as three rules with
// files, and as a rule for each. The budget is 2 µs.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "policy/decide.h"

namespace shunt {
namespace {

constexpr int kHosts = 100'000;
constexpr int kNetworks = 10'000;
constexpr int kPatterns = 200;

/// Every other one stands for what lies below it.
std::string host(int i) {
  return fmt::format("{}site{}.zone{}.example", i % 2 == 0 ? "" : "*.", i, i % 1000);
}

std::string network(int i) {
  return i % 4 == 0 ? fmt::format("2001:db8:{:x}::/48", i)
                    : fmt::format("10.{}.{}.0/24", i / 256 % 256, i % 256);
}

std::string pattern(int i) { return fmt::format("~\"^(ads|track){}[a-z]+\\.\"", i); }

using Rules = std::shared_ptr<const Ruleset>;

Rules compiled(const std::vector<std::string>& texts) {
  PolicySource source;
  source.ways_out = {"wan2"};
  for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
  auto rules = Ruleset::compile(std::move(source));
  if (!rules) {
    fmt::print(stderr, "{}\n{}\n", rules.error()[0].text(), rules.error()[0].place);
    std::abort();
  }
  return *std::move(rules);
}

std::string patterns_rule() {
  std::string text = "host ";
  for (int i = 0; i < kPatterns; ++i) text += (i == 0 ? "" : ",") + pattern(i);
  return text + " -> reject";
}

Rules with_files() {
  const std::string folder =
      (std::filesystem::temp_directory_path() / fmt::format("shunt-bench-{}", ::getpid())).string();
  std::filesystem::create_directory(folder);
  {
    std::ofstream hosts(folder + "/hosts");
    std::ofstream networks(folder + "/networks");
    for (int i = 0; i < kHosts; ++i) hosts << host(i) << '\n';
    for (int i = 0; i < kNetworks; ++i) networks << network(i) << '\n';
  }
  Rules rules = compiled({fmt::format("host @{}/hosts -> reject", folder),
                          fmt::format("to @{}/networks -> reject", folder), patterns_rule(),
                          "port 443 -> wan2"});
  std::filesystem::remove_all(folder);
  return rules;
}

Rules one_rule_each() {
  std::vector<std::string> texts;
  for (int i = 0; i < kHosts; ++i) texts.push_back(fmt::format("host {} -> reject", host(i)));
  for (int i = 0; i < kNetworks; ++i) texts.push_back(fmt::format("to {} -> reject", network(i)));
  for (int i = 0; i < kPatterns; ++i) texts.push_back(fmt::format("host {} -> reject", pattern(i)));
  texts.emplace_back("port 443 -> wan2");
  return compiled(texts);
}

const Rules& rules(bool files) {
  static const Rules kFiles = with_files();
  static const Rules kEach = one_rule_each();
  return files ? kFiles : kEach;
}

/// Many flows, so that not one and the same line of the table lies in the cache.
std::vector<Facts> flows(bool named, bool listed) {
  std::vector<Facts> out;
  for (int i = 0; i < 1024; ++i) {
    Facts facts;
    facts.client = *Endpoint::parse("192.0.2.10:50000");
    facts.destination = *Endpoint::parse(fmt::format("198.51.{}.{}:443", i / 256, i % 256));
    if (named) {
      facts.name.state = FactState::known;
      const int at = (i * 194 + 1) % kHosts;  // odd
      facts.name.name = listed ? fmt::format("www.site{}.zone{}.example", at, at % 1000)
                               : fmt::format("cdn{}.static.other{}.example", i, at);
      facts.name.verified = true;
    }
    out.push_back(std::move(facts));
  }
  return out;
}

void decide_flows(benchmark::State& state, bool files, bool named, bool listed) {
  const Ruleset& set = *rules(files);
  const std::vector<Facts> all = flows(named, listed);
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(decide(set, all[at]));
    at = (at + 1) % all.size();
  }
  const Decision last = decide(set, all[0]);
  const bool right =
      named ? set.verdict(last.rule).denies() == listed : last.needs.has(Needs::kName);
  if (!right) state.SkipWithError("decided otherwise than it should");
}
BENCHMARK_CAPTURE(decide_flows, files_name_listed, true, true, true);
BENCHMARK_CAPTURE(decide_flows, files_name_not_listed, true, true, false);
BENCHMARK_CAPTURE(decide_flows, files_name_unknown, true, false, false);
BENCHMARK_CAPTURE(decide_flows, rules_name_listed, false, true, true);
BENCHMARK_CAPTURE(decide_flows, rules_name_not_listed, false, true, false);
BENCHMARK_CAPTURE(decide_flows, rules_name_unknown, false, false, false);

void compile_rules(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(one_rule_each());
}
BENCHMARK(compile_rules)->Unit(benchmark::kMillisecond)->Iterations(3);

}  // namespace
}  // namespace shunt
