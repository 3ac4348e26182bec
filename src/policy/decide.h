// SPDX-License-Identifier: GPL-2.0-only
// What happens to a flow. Pure; any thread; about a microsecond whatever the number of rules
// (docs/rules.md).
//
// Facts that are not there yet: a term about one is neither yes nor no. If that leaves a rule open
// that stands before every rule that matches, the decision is not made and says which facts would
// help; ask again when they are there, or with Wait::over when they will not come.
//
// Names that the client alone vouches for: with Host or SNI a client may say any name while it
// talks to another address. Such a name may deny a flow. It may not permit one that would be denied
// without it: then the decision asks for the name to be verified, and without that it is as if the
// flow had shown a name that no rule permits. Where the name only chooses among ways out, it is
// believed: the client could have gone to the address anyway.
#pragma once

#include <cstdint>

#include "flow/facts.h"
#include "policy/ruleset.h"

namespace shunt {

/// A set of facts that a decision waits for.
struct Needs {
  static constexpr std::uint8_t kName = 1;
  static constexpr std::uint8_t kApp = 2;
  static constexpr std::uint8_t kHttp = 4;           ///< method and path of the first request
  static constexpr std::uint8_t kProcess = 8;        ///< the process; uid and gid are part of it
  static constexpr std::uint8_t kVerification = 16;  ///< NameFact::verified

  std::uint8_t bits = 0;

  [[nodiscard]] bool any() const { return bits != 0; }
  [[nodiscard]] bool has(std::uint8_t what) const { return (bits & what) != 0; }
  /// Some of them come with the client's first bytes.
  [[nodiscard]] bool first_bytes() const { return has(kName | kApp | kHttp); }
  bool operator==(const Needs&) const = default;
};

/// Whether facts that are unknown may still come.
enum class Wait : std::uint8_t { possible, over };

struct Decision {
  Needs needs;             ///< any: not decided yet, and the rest says nothing
  std::uint32_t rule = 0;  ///< that matched, from 1; 0: none did
  /// The name would have permitted what is denied without it, and nothing tied it to the address.
  bool name_mismatch = false;
};

/// Ruleset::verdict(decision.rule) is what to do. Counts no hit.
[[nodiscard]] Decision decide(const Ruleset& rules, const Facts& facts, Wait wait = Wait::possible);

}  // namespace shunt
