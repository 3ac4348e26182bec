// SPDX-License-Identifier: GPL-2.0-only
#include "cli/let_in_first.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "egress/make_proxy.h"
#include "egress/way_out_url.h"
#include "proxy/refusal.h"
#include "sniff/first_facts.h"

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

/// "": it is not let in first.
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
  names.reserve(verdict.ways.size());
  for (const std::uint16_t way : verdict.ways) names.push_back(checked.rules->ways_out()[way]);
  const bool name_known = facts.name.state != FactState::unknown;  // or never will be
  for (const WayOutSpec* spec : leads_to(config, std::move(names))) {
    const bool honest = verdict.connect == ConnectMode::honest;
    if (auto reason = reason_of(*spec, name_known || honest); !reason.empty()) return reason;
  }
  return {};
}

}  // namespace

std::string let_in_text(const CheckedConfig& checked, const FlowAnswer& answer,
                        const Facts& facts) {
  const std::string reason = let_in_first_because(checked, answer, facts);
  if (!reason.empty()) return fmt::format("is let in first: {}", reason);
  switch (checked.rules->verdict(answer.at_last.decision.rule).kind) {
    case Verdict::Kind::reject: return "is refused";
    case Verdict::Kind::drop: return "is told nothing";
    default: return "waits until its server has answered";
  }
}

void settle_where_servers_speak_first(const CheckedConfig& checked, Facts& facts) {
  const std::uint16_t port = facts.destination.port;
  const auto& more = checked.config.limits.server_first;
  const bool server_first =
      server_speaks_first(port) || std::ranges::find(more, port) != more.end();
  if (server_first && facts.protocol == Protocol::tcp) settle_first_bytes(facts);
}

}  // namespace shunt::cli
