// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>
#include <span>

#include "flow/failure.h"
#include "flow/flow.h"
#include "proxy/loop_guard.h"

namespace shunt {

/// Why this flow must not be dialled, if so: it went out of here itself, it was aimed at one of our
/// own listeners (a direct dial would otherwise make the proxy dial itself until its descriptors
/// run out), or its original destination is no place to connect to.
std::optional<ConnectFailure> own_flow_refusal(const Flow& flow,
                                               std::span<const Endpoint> own_listeners,
                                               const LoopGuard& guard);

/// Whether a connection to `destination` would arrive at one of our own listeners.
bool reaches_own_listener(const Endpoint& destination, std::span<const Endpoint> own_listeners);

/// Ports where the server speaks first (reliability row 11): waiting there for the client's first
/// bytes would hang both.
bool server_speaks_first(std::uint16_t port);

}  // namespace shunt
