// SPDX-License-Identifier: GPL-2.0-only
// WayOut::connect() and associate() for a flow whose destination may be a fake address
// (dns/fake_pool.h): then the name that it stands for is where the flow goes. A way out that sends
// names sends it, and so does every other proxy where nobody is there to look it up; whoever dials
// it looks it up (proxy/dns_resolve.cc).
#pragma once

#include <expected>

#include "egress/way_out.h"

namespace shunt {

/// The arguments outlive the tasks.
Task<std::expected<Upstream, ConnectFailure>> dial_flow(EventLoop& loop, const WayOut& way_out,
                                                        const Flow& flow, const Hints& hints);
/// Without a server to look the name up, ways out that need one are no way out for datagrams: the
/// client is told so at once and turns to TCP.
Task<std::expected<UdpUpstream, ConnectFailure>> associate_flow(EventLoop& loop,
                                                                const WayOut& way_out,
                                                                const Flow& flow,
                                                                const Hints& hints);

}  // namespace shunt
