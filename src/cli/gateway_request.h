// SPDX-License-Identifier: GPL-2.0-only
// The gateway's options as the capture wants them; for `gateway` and `plan gateway`.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "capture/gateway_plan.h"
#include "capture/lan_interfaces.h"

namespace shunt::cli {

class Options;

struct GatewayRequest {
  GatewayOptions capture;
  std::vector<LanInterface> lan;  ///< with the reason for each

  /// "br-lan (192.168.1.1/24), eth2 (named); this machine's own traffic".
  [[nodiscard]] std::string captured_text() const;
};

/// Looks at the machine's interfaces where none is named.
Result<GatewayRequest> gateway_request(const Options& options);

}  // namespace shunt::cli
