// SPDX-License-Identifier: GPL-2.0-only
// The inside of a Ruleset: terms as what they are compared by, and the indexes that lead to them.
// Rules are counted from 0 here.
#pragma once

#include <re2/re2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policy/host_index.h"
#include "policy/mmdb.h"
#include "policy/network_index.h"
#include "policy/pattern_set.h"
#include "rule/rule.h"
#include "rule/values.h"

namespace shunt {

/// The values of a term that compares texts.
struct TextValues {
  std::vector<std::string> exact;
  std::vector<std::string> beginnings;
  std::vector<std::unique_ptr<RE2>> patterns;
};

struct CompiledTerm {
  TermKey key = TermKey::host;
  bool negated = false;
  bool leads_to_rule = false;  ///< its rule is found by this term alone
  std::uint32_t rule = 0;
  /// By `key`: an index of `ranges` or `texts`; a bit for each value of proto and app. Not used by
  /// host, to and client: those match when a look-up of the index finds them.
  std::uint32_t payload = 0;
};

struct CompiledRule {
  std::uint32_t first_term = 0;
  std::uint32_t terms = 0;
  bool denies = false;
};

struct CompiledRules {
  std::vector<CompiledTerm> terms;
  std::vector<CompiledRule> rules;
  std::vector<std::vector<NumberRange>> ranges;  ///< sorted and merged
  std::vector<TextValues> texts;
  HostIndex hosts;
  PatternSet host_patterns;
  NetworkIndex destinations;
  NetworkIndex clients;
  std::shared_ptr<const Mmdb> countries;
  std::shared_ptr<const Mmdb> systems;
  /// Rules that no index leads to, in order.
  std::vector<std::uint32_t> unindexed;
  /// Of the rules that a host leads to: the first of each group with the same other terms.
  std::vector<std::uint32_t> first_by_host;
};

}  // namespace shunt
