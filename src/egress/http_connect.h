// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "egress/proxy_link.h"
#include "egress/way_out.h"

namespace shunt {

/// Through an HTTP proxy by CONNECT (RFC 9110 section 9.3.6), with Basic credentials where there
/// are any. TCP only.
std::shared_ptr<const WayOut> make_http_connect(std::string name, std::vector<Endpoint> addresses,
                                                const std::optional<Credentials>& credentials,
                                                const UpstreamOptions& options);

/// The same with what a way out in a configuration may say besides. With `send_names` a name that
/// sniffing learnt is sent instead of the address, and the proxy resolves it.
std::shared_ptr<const WayOut> make_http_connect(std::shared_ptr<const ProxyServer> server,
                                                bool send_names);

}  // namespace shunt
