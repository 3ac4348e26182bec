// SPDX-License-Identifier: GPL-2.0-only
// The gateway's options as the capture wants them; for `gateway` and `plan gateway`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/gateway_plan.h"
#include "capture/lan_interfaces.h"
#include "config/config.h"
#include "policy/ruleset.h"

namespace shunt::cli {

class Options;

struct GatewayRequest {
  GatewayOptions capture;
  std::vector<LanInterface> lan;  ///< with the reason for each
  std::shared_ptr<const Ruleset> rules;
  std::vector<PlainListener> listeners = {};

  /// "br-lan (192.168.1.1/24), eth2 (named); this machine's own traffic".
  [[nodiscard]] std::string captured_text() const;
};

/// Looks at the machine's interfaces where none is named; reads what the rules name.
Result<GatewayRequest> gateway_request(const Options& options);
/// The same of a configuration file.
Result<GatewayRequest> gateway_request(const CheckedConfig& checked);

/// What the ways out of a configuration need of the kernel.
LeavingOptions leaving_options(const Config& config);

}  // namespace shunt::cli
