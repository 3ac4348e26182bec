// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "egress/proxy_link.h"
#include "egress/way_out.h"

namespace shunt {

/// Through a SOCKS4A proxy: TCP only. A name that sniffing learnt is sent and resolved there; an
/// IPv6 destination without one cannot be asked for. Of the credentials the user alone is sent: the
/// protocol knows no password.
std::shared_ptr<const WayOut> make_socks4a(std::shared_ptr<const ProxyServer> server);

}  // namespace shunt
