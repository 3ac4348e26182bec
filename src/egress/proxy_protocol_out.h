// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "egress/way_out.h"
#include "flow/proxy_protocol.h"

namespace shunt {

/// Tells what `inner` reaches who the client was, by a PROXY header before the first byte of a
/// connection. Version 2 says the sniffed name and a unique id besides and carries UDP: there the
/// header stands before the payload of each datagram, as its receivers want it (PowerDNS, dnsdist).
///
/// The header goes out at once, since a server that speaks first waits for it. Only where the
/// client's first bytes are known to be there does it wait to share their segment.
std::shared_ptr<const WayOut> make_proxy_protocol_out(std::shared_ptr<const WayOut> inner,
                                                      proxy_protocol::Version version);

}  // namespace shunt
