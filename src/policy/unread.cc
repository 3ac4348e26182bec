// SPDX-License-Identifier: GPL-2.0-only
#include "policy/unread.h"

#include "policy/compiled.h"
#include "policy/decide.h"
#include "policy/evaluate.h"

namespace shunt {
namespace {

bool is_about_first_bytes(TermKey key) {
  return key == TermKey::host || key == TermKey::app || key == TermKey::method ||
         key == TermKey::path;
}

bool asks_for_first_bytes(const CompiledRules& rules, const CompiledRule& rule) {
  for (std::uint32_t id = rule.first_term; id < rule.first_term + rule.terms; ++id) {
    if (is_about_first_bytes(rules.terms[id].key)) return true;
  }
  return false;
}

}  // namespace

// What cannot be read may say anything: as if it had not come yet.
std::uint32_t denial_of_unread(const Ruleset& rules, const Facts& facts, AppProtocol begun,
                               std::uint32_t decided) {
  static thread_local Lookups lookups;
  Facts unread = facts;
  unread.app = {.state = FactState::known, .app = begun};
  unread.name = {};
  unread.http = {};
  const CompiledRules& compiled = rules.compiled();
  Evaluation evaluation(compiled, unread, Wait::possible, lookups);
  const std::uint32_t end = decided == 0 ? rules.size() : decided - 1;
  for (std::uint32_t at = 0; at < end; ++at) {
    const CompiledRule& rule = compiled.rules[at];
    if (!rule.denies || !asks_for_first_bytes(compiled, rule)) continue;
    Needs needs;
    if (evaluation.answer(rule, needs) != Answer::no) return at + 1;
  }
  return 0;
}

}  // namespace shunt
