// SPDX-License-Identifier: GPL-2.0-only
#include "cli/let_in_first.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "egress/make_proxy.h"
#include "egress/way_out_url.h"

namespace shunt::cli {
namespace {

bool wants_name(const WayOutSpec& spec) {
  if (spec.proxy.empty() || spec.connect == ConnectMode::honest) return false;
  const auto url = parse_proxy_url(spec.proxy);
  return url && sends_names(*url, spec.resolve);
}

std::string reason_of(const WayOutSpec& spec, bool name_known) {
  if (spec.connect == ConnectMode::early)
    return fmt::format("{} says connect = \"early\"", spec.name);
  if (spec.keep_source == KeptEnd::port) return fmt::format("{} keeps its port", spec.name);
  if (!name_known && wants_name(spec)) return fmt::format("{} sends names", spec.name);
  return {};
}

/// The ways out that one of these names leads to: itself, and what is in it.
std::vector<const WayOutSpec*> leads_to(const Config& config, std::vector<std::string> names) {
  std::vector<const WayOutSpec*> found;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto spec = std::ranges::find(config.ways_out, names[i], &WayOutSpec::name);
    if (spec == config.ways_out.end() || std::ranges::find(found, &*spec) != found.end()) continue;
    found.push_back(&*spec);
    names.insert(names.end(), spec->members.begin(), spec->members.end());
    if (spec->proxy.empty() && !spec->via.empty()) names.push_back(spec->via.back());
  }
  return found;
}

}  // namespace

std::string let_in_first_because(const CheckedConfig& checked, const FlowAnswer& answer,
                                 const Facts& facts) {
  const Config& config = checked.config;
  const Verdict& verdict = checked.rules->verdict(answer.at_last.decision.rule);
  if (config.capture.options.connect == ConnectMode::early) {
    return "[capture] says connect = \"early\"";
  }
  if (config.capture.options.method == MethodChoice::redirect) return "REDIRECT cannot hold it";
  if (answer.now.decision.needs.first_bytes()) return "its first bytes are asked for";
  if (verdict.connect == ConnectMode::early) return "the rule says so";
  std::vector<std::string> names;
  for (const std::uint16_t way : verdict.ways) names.push_back(checked.rules->ways_out()[way]);
  const bool name_known = facts.name.state == FactState::known;
  for (const WayOutSpec* spec : leads_to(config, std::move(names))) {
    const bool honest = verdict.connect == ConnectMode::honest;
    if (auto reason = reason_of(*spec, name_known || honest); !reason.empty()) return reason;
  }
  return {};
}

}  // namespace shunt::cli
