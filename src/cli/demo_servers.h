// SPDX-License-Identifier: GPL-2.0-only
// Real servers on the demo's server: nginx (or python3) for HTTP and TLS, dnsmasq for DNS.
#pragma once

#include <optional>

#include "cli/demo_lab.h"

namespace shunt::cli {

struct DemoServers {
  std::optional<DemoProcess> web;
  std::optional<DemoProcess> dns;
  bool tls = false;
  std::string description;  ///< "nginx (HTTP, TLS) and dnsmasq (DNS)"
};

/// Starts what is installed; an Error when not even python3 is. HTTP answers with a line that says
/// from which address the request came.
Result<DemoServers> start_demo_servers(DemoLab& lab);

}  // namespace shunt::cli
