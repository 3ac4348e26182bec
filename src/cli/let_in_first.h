// SPDX-License-Identifier: GPL-2.0-only
// When `shunt explain` says that a client is let in, of a connection that the gateway captures.
#pragma once

#include <string>

#include "cli/explain_flow.h"
#include "config/config.h"

namespace shunt::cli {

/// Why it is let in before its server has answered; "": it waits for that, where the kernel can
/// hold it.
[[nodiscard]] std::string let_in_first_because(const CheckedConfig& checked,
                                               const FlowAnswer& answer, const Facts& facts);

}  // namespace shunt::cli
