// SPDX-License-Identifier: GPL-2.0-only
// What `gateway`, `run` and `serve` make of the user's words about DNS.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "config/config.h"
#include "dns/dns_config.h"
#include "flow/flow.h"
#include "policy/ruleset.h"
#include "proxy/dns_service.h"

namespace shunt::cli {

class Options;

/// Of --dns and --dns-server. Names that the way out itself needs are never faked.
Result<DnsConfig> dns_config(const Options& options);
/// The same of a configuration file, which was checked.
DnsConfig dns_config(const Config& config);

/// Whether what this machine asks its resolvers on loopback is for shunt: to be answered, or to be
/// remembered for rules that name hosts. `host`: its own traffic is captured.
bool takes_own_dns(const DnsConfig& dns, const Ruleset& rules, bool host);

/// The settings, for a capture that took its method. By REDIRECT no datagram is captured, so
/// queries would go round us: that is an error.
Result<std::shared_ptr<const DnsSettings>> set_up_dns(const DnsConfig& dns, CaptureMethod method);

/// Where fake addresses are remembered: fake-ip in $SHUNT_STATE_DIR, or in /var/lib/shunt.
std::string fake_state_file();

}  // namespace shunt::cli
