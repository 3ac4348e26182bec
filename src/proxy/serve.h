// SPDX-License-Identifier: GPL-2.0-only
// The story of one TCP flow, from its capture to its record.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "flow/admission.h"
#include "flow/record.h"
#include "flow/tap.h"
#include "net/task.h"
#include "proxy/decide_flow.h"
#include "proxy/dropped_clients.h"
#include "proxy/live_flows.h"
#include "proxy/loop_guard.h"
#include "relay/relay.h"

namespace shunt {

/// What serve() needs of its worker. Outlives every flow of that worker.
struct ServeContext {
  RelayResources& relay;
  DecideContext decide;
  DroppedClients& dropped;
  LiveFlows& live;
  const LoopGuard& loop_guard;
  std::span<const Endpoint> own_listeners;
  FlowLog& log;
  bool observe_content;
};

/// Runs until the flow is over; refuses what it must, and always reports flow_end(). A captured
/// flow may be held: it is decided and dialled first, then admitted or refused. `captured` outlives
/// the task.
Task<> serve(ServeContext& context, Captured& captured);

}  // namespace shunt
