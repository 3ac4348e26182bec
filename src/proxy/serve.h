// SPDX-License-Identifier: GPL-2.0-only
// The story of one TCP flow, from its capture to its record.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "egress/way_out.h"
#include "flow/admission.h"
#include "flow/record.h"
#include "flow/tap.h"
#include "net/task.h"
#include "proxy/loop_guard.h"
#include "relay/relay.h"

namespace shunt {

/// What serve() needs of its worker. Outlives every flow of that worker.
struct ServeContext {
  RelayResources& relay;
  const WayOut& way_out;
  const LoopGuard& loop_guard;
  std::span<const Endpoint> own_listeners;
  FlowLog& log;
  bool observe_content;
  std::uint32_t sniff_wait_ms;
};

/// Runs until the flow is over; refuses what it must, and always reports flow_end(). A captured
/// flow may be held: it is dialled first, then admitted or refused.
Task<> serve(ServeContext& context, Captured captured);

}  // namespace shunt
