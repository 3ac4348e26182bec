// SPDX-License-Identifier: GPL-2.0-only
// Datagrams through a SOCKS5 proxy (RFC 1928 section 7): where its relay is, how they get there,
// and whose they are that come back.
#pragma once

#include <expected>
#include <optional>
#include <string_view>

#include "egress/proxy_link.h"
#include "egress/way_out.h"
#include "egress/wire/socks5.h"

namespace shunt::socks5 {

/// UdpUpstream::unwrap of an association for one destination: takes the relays' headers off. A
/// relay forwards whatever reaches its port; nothing where a datagram is of somebody else.
std::optional<std::string_view> unwrap_from_destination(const UdpUpstream& upstream,
                                                        std::string_view datagram);
/// Of an association for every destination: the innermost header names the peer.
extern const UdpUpstream::Relaying kMappingRelaying;

/// Where to send datagrams, from the reply to UDP ASSOCIATE on `link`. "0.0.0.0" means the proxy's
/// own address; our loopback is refused to a proxy elsewhere, as is a group.
std::expected<Endpoint, ConnectFailure> relay_address(const ProxyLink& link, const Reply& reply);

/// Datagrams to `relay` of the server that `link` leads to, on the way that the link took.
Task<std::expected<UdpUpstream, ConnectFailure>> open_relay(EventLoop& loop, const ProxyLink& link,
                                                            const Endpoint& relay, const Flow& flow,
                                                            const UpstreamOptions& options);

}  // namespace shunt::socks5
