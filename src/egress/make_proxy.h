// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "egress/proxy_link.h"
#include "egress/way_out_url.h"

namespace shunt {

/// The way out through `server`, in the protocol that the URL's scheme names. Gives the server its
/// host name and address book. `resolve`: names are sent where the protocol leaves the choice.
std::shared_ptr<const WayOut> make_proxy(const ProxyUrl& url, std::shared_ptr<ProxyServer> server,
                                         bool resolve);

}  // namespace shunt
