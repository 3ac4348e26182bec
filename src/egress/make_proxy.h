// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "egress/proxy_link.h"
#include "egress/way_out_url.h"

namespace shunt {

/// Whether the proxy is sent names, where they are known. `resolve`: where the protocol leaves the
/// choice, too.
[[nodiscard]] bool sends_names(const ProxyUrl& url, bool resolve);

/// The way out through `server`, in the protocol that the URL's scheme names. Gives the server its
/// host name and, unless a hop resolves it, an address book. `resolve` as above.
std::shared_ptr<const WayOut> make_proxy(const ProxyUrl& url, std::shared_ptr<ProxyServer> server,
                                         bool resolve);

}  // namespace shunt
