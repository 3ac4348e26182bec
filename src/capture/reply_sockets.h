// SPDX-License-Identifier: GPL-2.0-only
// UDP replies that come from where the client sent to (ReplySockets of capture/capture.h), made in
// the network namespace of the calling thread. Both need CAP_NET_ADMIN there, raw also CAP_NET_RAW.
#pragma once

#include <cstdint>
#include <memory>

#include "capture/capture.h"

namespace shunt {

/// ReplySockets::bound(). Also EADDRINUSE when `source` is an address of this machine: a socket
/// there would take the datagrams that are meant for the service behind it.
Result<UniqueFd> make_bound_reply_socket(const Endpoint& source, std::uint32_t mark);
/// ReplySockets::raw(). The kernel fills in an IPv6 checksum (IPV6_CHECKSUM); an IPv4 one may be 0.
Result<UniqueFd> make_raw_reply_socket(const Address& source, std::uint32_t mark);

/// The same, before they are bound: for somebody else to bind. That needs CAP_NET_BIND_SERVICE for
/// a low port, but no other capability.
Result<UniqueFd> make_unbound_reply_socket(Family family, std::uint32_t mark);
Result<UniqueFd> make_unbound_raw_reply_socket(Family family, std::uint32_t mark);

/// The two first for callers that live in the capture's namespace.
std::shared_ptr<ReplySockets> local_reply_sockets(std::uint32_t mark,
                                                  std::uint32_t hairpin_mark = 0);

}  // namespace shunt
