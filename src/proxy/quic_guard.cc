// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/quic_guard.h"

#include <algorithm>
#include <utility>

#include "base/counters.h"
#include "base/limits.h"
#include "policy/decide.h"
#include "policy/unread.h"
#include "sniff/first_facts.h"

namespace shunt {
auto QuicGuard::see(std::string_view datagram, const Decided& decided) -> std::optional<Objection> {
  if (!is_quic_initial(datagram)) return std::nullopt;
  const std::string_view id = quic_connection_id(datagram);
  auto connection = std::ranges::find(begun_, id, &Connection::id);
  if (connection == begun_.end()) {
    begun_.push_back({.id = std::string(id), .reader = {}});
    connection = begun_.end() - 1;
  }
  const auto state = connection->reader.feed(datagram);
  // What its own ID does not open began elsewhere, and was looked at then.
  const bool done = !connection->reader.opened() || state != QuicHelloReader::State::need_more;
  std::optional<Objection> objection;
  if (connection->reader.opened() && done) objection = judge(connection->reader, decided);
  if (done) begun_.erase(connection);
  if (begun_.size() > limits::kQuicBegun) objection = Objection{.rule = decided.rule, .name = {}};
  if (objection) count(Counter::requests_ended_flow);
  return objection;
}

auto QuicGuard::objection_to_unread(const Decided& decided) -> std::optional<Objection> {
  const std::uint32_t denial =
      denial_of_unread(decided.policy.rules(), decided.facts, AppProtocol::quic, decided.rule);
  if (denial == 0) return std::nullopt;
  return Objection{.rule = denial, .name = {}};
}

// A name that was never looked up is the client's word alone: there is no time for it now.
auto QuicGuard::judge(const QuicHelloReader& reader, const Decided& decided) const
    -> std::optional<Objection> {
  Facts facts = decided.facts;
  facts.app = {.state = FactState::known, .app = AppProtocol::quic};
  facts.name = {};
  learn_quic_hello(reader, facts);
  if (facts.app.unread) return objection_to_unread(decided);
  const NameFact& first = decided.facts.name;
  // A hello without a name leaves the one that the client had looked the address up by.
  if (facts.name.state != FactState::known && first.source == NameSource::dns_memory) {
    facts.name = first;
  }
  const bool same = first.state == FactState::known && first.name == facts.name.name;
  facts.name.verified =
      (same && first.verified) || names_.ties(facts.name.name, facts.destination.address);
  const Decision now = decide(decided.policy.rules(), facts, Wait::over);
  if (decided.policy.same_verdict(now.rule, decided.policy, decided.rule)) return std::nullopt;
  return Objection{.rule = now.rule, .name = std::move(facts.name)};
}

}  // namespace shunt
