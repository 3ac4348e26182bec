// SPDX-License-Identifier: GPL-2.0-only
#include "policy/index_rules.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace shunt {
namespace {

/// So many rules with the same other terms are found by their hosts even where they name a network
/// too: the network alone would find all of them.
constexpr std::size_t kGroupWorthAnIndex = 8;

bool is_network_key(TermKey key) { return key == TermKey::to || key == TermKey::client; }

/// The terms of a rule but its hosts: rules that are alike in them are one group.
std::string other_terms(const Rule& rule) {
  std::string out;
  bool first_host = true;
  for (const Term& term : rule.terms) {
    if (term.key == TermKey::host && !term.negated && std::exchange(first_host, false)) continue;
    out += rule.text.substr(term.span.first, term.span.length);
    out += '\n';
  }
  return out;
}

bool has_positive(const Rule& rule, bool (*wanted)(TermKey)) {
  return std::ranges::any_of(
      rule.terms, [wanted](const Term& term) { return !term.negated && wanted(term.key); });
}

/// Marks the first term with such a key.
void lead_by(CompiledRules& out, std::uint32_t rule, bool (*wanted)(TermKey)) {
  const CompiledRule& compiled = out.rules[rule];
  for (std::uint32_t i = 0; i < compiled.terms; ++i) {
    CompiledTerm& term = out.terms[compiled.first_term + i];
    if (term.negated || !wanted(term.key)) continue;
    term.leads_to_rule = true;
    return;
  }
}

}  // namespace

void index_rules(std::span<const Rule> rules, CompiledRules& out) {
  const auto is_host = [](TermKey key) { return key == TermKey::host; };
  std::unordered_map<std::string, std::vector<std::uint32_t>> groups;
  const auto count = static_cast<std::uint32_t>(rules.size());
  for (std::uint32_t i = 0; i < count; ++i) {
    if (has_positive(rules[i], is_host)) groups[other_terms(rules[i])].push_back(i);
  }
  std::vector<bool> by_host(count);
  for (const auto& [others, members] : groups) {
    const bool better_by_network =
        members.size() < kGroupWorthAnIndex && has_positive(rules[members.front()], is_network_key);
    if (better_by_network) continue;
    out.first_by_host.push_back(members.front());
    for (const std::uint32_t member : members) by_host[member] = true;
  }
  std::ranges::sort(out.first_by_host);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (by_host[i]) {
      lead_by(out, i, is_host);
    } else if (has_positive(rules[i], is_network_key)) {
      lead_by(out, i, is_network_key);
    } else {
      out.unindexed.push_back(i);
    }
  }
}

}  // namespace shunt
