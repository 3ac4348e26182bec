// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "flow/facts.h"
#include "policy/ruleset.h"

namespace shunt {

/// Of a flow whose first bytes begin as `begun` (http, tls or quic) and cannot be read: the first
/// rule that denies by what they may say (the protocol, host, method or path), that may match, and
/// that stands before `decided`, by which the flow would go (0: by the default). 0: there is none.
/// Pure; looks at each rule that denies.
[[nodiscard]] std::uint32_t denial_of_unread(const Ruleset& rules, const Facts& facts,
                                             AppProtocol begun, std::uint32_t decided);

}  // namespace shunt
