// SPDX-License-Identifier: GPL-2.0-only
// The name of a flow's destination, for those who decide (decide_flow.h, decide_udp.h).
#pragma once

#include <chrono>
#include <cstdint>

#include "flow/facts.h"
#include "flow/flow.h"
#include "net/event_loop.h"
#include "net/task.h"
#include "proxy/name_verifier.h"

namespace shunt {

/// Milliseconds until then, 0 when it is over.
[[nodiscard]] std::uint32_t left_ms(Clock::time_point deadline);

/// Ties a name that is known to the flow's address, for at most `wait_ms`; `names` may be null.
/// False: nothing does.
Task<bool> verify_name(NameVerifier* names, EventLoop& loop, Facts& facts, std::uint32_t wait_ms);

/// For the log.
[[nodiscard]] FlowHost host_of(const NameFact& name);

/// The client did not name its destination in time. Counts that, and says so.
void note_silence(const Flow& flow);
/// What it named permits nothing. Counts that, and says so.
void note_mismatch(const Flow& flow, const NameFact& name);

}  // namespace shunt
