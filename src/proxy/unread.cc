// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/unread.h"

#include <string>
#include <string_view>

#include "base/log.h"
#include "policy/unread.h"

namespace shunt {
namespace {

std::string_view words_for(AppProtocol begun) {
  if (begun == AppProtocol::http) return "HTTP";
  return begun == AppProtocol::tls ? "TLS" : "QUIC";
}

}  // namespace

Decision strictest_of_unread(const Ruleset& rules, const Facts& facts, const Decision& decision) {
  if (!facts.app.unread || rules.verdict(decision.rule).denies()) return decision;
  if (facts.app.app == AppProtocol::http) {
    Facts other = facts;
    other.app = {.state = FactState::known, .app = AppProtocol::other};
    other.http = {.state = FactState::never, .method = {}, .path = {}};
    const Decision without = decide(rules, other, Wait::over);
    if (rules.verdict(without.rule).denies()) return without;
  }
  const std::uint32_t denial = denial_of_unread(rules, facts, *facts.app.unread, decision.rule);
  return denial == 0 ? decision : Decision{.needs = {}, .rule = denial};
}

void note_unread(const Flow& flow, AppProtocol begun, std::uint32_t rule) {
  static RateLimitedLog unread;
  const std::string by = rule == 0 ? "the default" : "rule " + std::to_string(rule);
  unread.warn(flow.source.text() + " begins as " + std::string(words_for(begun)) + " to " +
              flow.original_destination.text() +
              " in a way that cannot be read: not let through, " + by +
              " may deny what it asks for");
}

}  // namespace shunt
