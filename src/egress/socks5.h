// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "egress/proxy_link.h"
#include "egress/way_out.h"

namespace shunt {

/// Through a SOCKS5 proxy (RFC 1928): CONNECT for TCP, UDP ASSOCIATE for UDP, and where there are
/// credentials user name and password (RFC 1929). With `send_names` (socks5h) a name that sniffing
/// learnt is sent instead of the address, and the proxy resolves it.
std::shared_ptr<const WayOut> make_socks5(std::string name, std::vector<Endpoint> addresses,
                                          std::optional<Credentials> credentials, bool send_names,
                                          const UpstreamOptions& options);

/// The same with what a way out in a configuration may say besides. Behind another proxy
/// (ProxyServer::through) it carries UDP where that one does (WayOut::reaches_relays): its
/// association is made through an association there, and each datagram bears both headers.
std::shared_ptr<const WayOut> make_socks5(std::shared_ptr<const ProxyServer> server,
                                          bool send_names);

}  // namespace shunt
