// SPDX-License-Identifier: GPL-2.0-only
// The name of a flow's destination, for those who decide (decide_flow.h, decide_udp.h).
#pragma once

#include <cstdint>
#include <vector>

#include "dns/memory.h"
#include "egress/own_addresses.h"
#include "flow/facts.h"
#include "flow/flow.h"
#include "net/event_loop.h"
#include "net/task.h"
#include "policy/decide.h"
#include "proxy/name_verifier.h"

namespace shunt {

/// What ties names to addresses, beside what clients say. Outlives every flow.
struct NameEvidence {
  NameVerifier* lookups = nullptr;  ///< null: nothing is looked up
  dns::Memory* memory = nullptr;    ///< null: no answer of DNS is remembered
  /// Who asks a resolver on loopback connects from these later. Null: no one does.
  const OwnAddresses* own = nullptr;

  /// Whether the name is tied to the address, as far as that is known now.
  [[nodiscard]] bool ties(const std::string& name, const Address& address) const;
};

/// Ties a name that is known to the flow's address, for at most `wait_ms`. False: nothing does.
Task<bool> verify_name(NameEvidence evidence, EventLoop& loop, Facts& facts, std::uint32_t wait_ms);

/// For a flow that gives no name (NameFact is `never`): the names that its address was asked for
/// by. The newest becomes the flow's; the others are returned.
std::vector<NameFact> adopt_remembered_name(const NameEvidence& evidence, Facts& facts);

/// The decision about a flow that may just as well mean one of `others`: if any name is denied, so
/// is the flow. `decision` is the one by facts.name, which then is the name that was denied.
[[nodiscard]] Decision strictest(const Ruleset& rules, Facts& facts, Decision decision,
                                 const std::vector<NameFact>& others);

/// The names that a request gave side by side, as others of the flow: each may deny.
[[nodiscard]] std::vector<NameFact> rivals(const Facts& facts);

/// For the log.
[[nodiscard]] FlowHost host_of(const NameFact& name);

/// The client did not name its destination in time. Counts that, and says so.
void note_silence(const Flow& flow);
/// What it named permits nothing. Counts that, and says so.
void note_mismatch(const Flow& flow, const NameFact& name);

}  // namespace shunt
