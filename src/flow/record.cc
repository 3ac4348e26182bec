// SPDX-License-Identifier: GPL-2.0-only
#include "flow/record.h"

namespace shunt {

std::string_view end_reason_text(EndReason reason) {
  switch (reason) {
    case EndReason::closed: return "closed";
    case EndReason::client_reset: return "reset by client";
    case EndReason::upstream_reset: return "reset by upstream";
    case EndReason::idle: return "idle";
    case EndReason::shutdown: return "shutdown";
    case EndReason::refused: return "refused";
    case EndReason::evicted: return "evicted";
    case EndReason::rules_changed: return "ended by new rules";
    case EndReason::host_changed: return "ended by another request's rule";
  }
  return "unknown";
}

}  // namespace shunt
