// SPDX-License-Identifier: GPL-2.0-only
// WayOut::connect() and associate() for a flow whose destination may be a fake address
// (dns/fake_pool.h): then the name that it stands for is where the flow goes. Its addresses are
// looked up here, with the server that is configured, and tried one after the other, those of the
// family that the client dials first; a way out that sends names has the name as well. Without a
// server only those that send names lead there.
#pragma once

#include <expected>

#include "egress/way_out.h"
#include "proxy/dns_service.h"

namespace shunt {

/// `dns` may be null: no address is fake. The arguments outlive the tasks.
Task<std::expected<Upstream, ConnectFailure>> dial_flow(EventLoop& loop, const WayOut& way_out,
                                                        const Flow& flow, const Hints& hints,
                                                        DnsService* dns);
Task<std::expected<UdpUpstream, ConnectFailure>> associate_flow(EventLoop& loop,
                                                                const WayOut& way_out,
                                                                const Flow& flow,
                                                                const std::string& name,
                                                                DnsService* dns);

}  // namespace shunt
