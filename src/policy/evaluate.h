// SPDX-License-Identifier: GPL-2.0-only
// Terms against facts: what decide() and explain() share.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "flow/facts.h"
#include "policy/compiled.h"
#include "policy/decide.h"

namespace shunt {

/// What a term says of a flow.
enum class Answer : std::uint8_t {
  no,
  yes,
  unknown,  ///< the fact may still come
  never,    ///< the fact will not come: neither the term nor its negation holds
};

/// Look-ups of one flow, made once. Its memory is reused from flow to flow.
struct Lookups {
  std::vector<std::uint32_t> hosts;  ///< terms that the name satisfies, sorted
  std::vector<std::uint32_t> destinations;
  std::vector<std::uint32_t> clients;
  std::vector<int> patterns;
  std::vector<std::uint32_t> candidates;
};

class Evaluation {
 public:
  /// How the name of the flow is taken.
  enum class Name : std::uint8_t {
    as_told,
    /// As one that the client made up: no `host` matches, and `not host` only where that denies.
    distrusted,
  };

  Evaluation(const CompiledRules& rules, const Facts& facts, Wait wait, Lookups& lookups);

  void take_name(Name name) { name_ = name; }
  /// `needs` gains the fact that is missing when the answer is unknown.
  Answer answer(const CompiledTerm& term, std::uint32_t id, Needs& needs);
  Answer answer(const CompiledRule& rule, Needs& needs);
  /// Whether rules that a host leads to can match at all, and whether the name is there.
  [[nodiscard]] FactState name_state() const;

 private:
  [[nodiscard]] FactState settled(FactState state) const;
  Answer positive(const CompiledTerm& term, std::uint32_t id, Needs& needs);
  Answer host(std::uint32_t id, Needs& needs) const;
  [[nodiscard]] Answer about_plain_facts(const CompiledTerm& term, std::uint32_t id) const;
  Answer about_app(const CompiledTerm& term, Needs& needs) const;
  Answer about_http(const CompiledTerm& term, Needs& needs) const;
  Answer about_process(const CompiledTerm& term, Needs& needs) const;
  Answer about_account(const CompiledTerm& term, Needs& needs) const;
  Answer country(const CompiledTerm& term);
  Answer system(const CompiledTerm& term);
  Answer later(FactState state, std::uint8_t need, Needs& needs) const;

  const CompiledRules& rules_;
  const Facts& facts_;
  Wait wait_;
  Lookups& lookups_;
  Name name_ = Name::as_told;
  std::optional<std::optional<std::array<char, 2>>> country_;
  std::optional<std::optional<std::uint32_t>> system_;
};

}  // namespace shunt
