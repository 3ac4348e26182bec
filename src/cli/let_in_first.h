// SPDX-License-Identifier: GPL-2.0-only
// For `shunt explain`: whether a captured client is let in before its server has answered, and why.
#pragma once

#include <string>

#include "cli/explain_flow.h"
#include "config/config.h"

namespace shunt::cli {

/// What becomes of the client of a TCP connection that the gateway captures, for people: "is let in
/// first: its first bytes are asked for", "waits until its server has answered", "is refused". As
/// it is where the kernel can hold connections.
[[nodiscard]] std::string let_in_text(const CheckedConfig& checked, const FlowAnswer& answer,
                                      const Facts& facts);

/// Where servers speak first no first bytes are waited for, so what they would say stays unknown.
void settle_where_servers_speak_first(const CheckedConfig& checked, Facts& facts);

}  // namespace shunt::cli
