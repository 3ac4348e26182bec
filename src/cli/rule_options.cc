// SPDX-License-Identifier: GPL-2.0-only
#include "cli/rule_options.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "cli/options.h"

namespace shunt::cli {
namespace {

constexpr std::string_view kVia = "via";

}  // namespace

Result<std::shared_ptr<const Ruleset>> rules_of(const Options& options) {
  const RulePlace place{.file = "--rule", .line = 0, .column = 1, .line_text = {}};
  PolicySource source;
  for (std::string& text : options.values("rule")) {
    source.rules.push_back({.text = std::move(text), .place = place});
  }
  if (options.has("via")) {
    source.ways_out.emplace_back(kVia);
    source.fallback.text = kVia;
  }
  auto rules = Ruleset::compile(std::move(source));
  if (rules) return *std::move(rules);
  Error first = std::move(rules.error().front());
  if (first.kind == Kind::configuration) first.kind = Kind::usage;
  return Failure(std::move(first));
}

std::shared_ptr<const Policy> policy_of(std::shared_ptr<const Ruleset> rules,
                                        std::shared_ptr<const WayOut> direct,
                                        std::shared_ptr<const WayOut> via,
                                        std::vector<Address> host_resolvers) {
  std::vector<std::shared_ptr<const WayOut>> ways{std::move(direct)};
  if (rules->ways_out().size() > 1) ways.push_back(std::move(via));
  return Policy::create(std::move(rules), std::move(ways), nullptr, nullptr,
                        std::move(host_resolvers));
}

std::string rules_text(const Ruleset& rules) {
  if (rules.size() == 0) return {};
  const std::string fallback = rules.verdict_text(0);
  return fmt::format("by {} rule{}; what {} goes {}", rules.size(), rules.size() == 1 ? "" : "s",
                     rules.size() == 1 ? "it does not match" : "none of them matches",
                     fallback == kVia ? "via the proxy" : fallback);
}

}  // namespace shunt::cli
