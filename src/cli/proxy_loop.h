// SPDX-License-Identifier: GPL-2.0-only
// A proxy on this very machine, whose own connections `gateway --host` would capture and hand back
// to it: each connection would go round until descriptors run out, and none of the guards against
// loops can see it, since it is the proxy that dials anew each time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "capture/gateway_plan.h"
#include "egress/way_out.h"
#include "policy/ruleset.h"

namespace shunt::cli {

/// Where the user says what is captured: a warning names its fix in the same words.
enum class Wording : std::uint8_t { flags, configuration };

/// What to warn of, and the exclusion that mends it; empty where the proxy is elsewhere or is let
/// out already, by an exclusion or by rules that send none of its user's traffic to a proxy. Looks
/// for the program that listens at the proxy's address, to name its user. A warning and no error: a
/// tunnel that is up already (ssh -D) dials nothing here.
std::optional<std::string> proxy_loop_warning(const WayOut& way_out, const GatewayOptions& capture,
                                              const Ruleset& rules, Wording wording);

}  // namespace shunt::cli
