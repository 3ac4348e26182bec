// SPDX-License-Identifier: GPL-2.0-only
// The tap of one TCP flow: the client's first byte decides which protocol is followed, and what it
// says becomes events of the FlowLog. Every oddity ends the looking, never the flow.
//
// Memory: this object alone (under 50 bytes) before the first byte and once nothing more is to be
// seen; up to limits::kHttpHeadBytes or kTlsHelloBytes for each side while a head or hello is
// incomplete; about 250 bytes for a quiet HTTP connection.
#pragma once

#include <memory>

#include "flow/flow.h"
#include "flow/record.h"
#include "flow/tap.h"
#include "proxy/request_guard.h"

namespace shunt {

/// The flow and the log outlive the tap. `guard` may be null.
[[nodiscard]] std::unique_ptr<Tap> make_flow_tap(const Flow& flow, FlowLog& log,
                                                 std::unique_ptr<RequestGuard> guard = nullptr);

}  // namespace shunt
