// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <expected>

#include "egress/way_out.h"
#include "net/socket.h"

namespace shunt {

/// Whose address an upstream socket bears (egress/keep_source.h).
struct KeptSource {
  Endpoint client;
  bool port = false;  ///< and whose port
  bool own = false;   ///< it is this machine's: an ordinary bind
};

/// A socket that leaves as `options` say (mark, interface, source) and is not connected yet. Where
/// the user's own choice cannot be kept there is no socket: traffic never takes another path than
/// the configured one. `kept` may be null; it takes the place of the options' source address.
std::expected<UniqueFd, ConnectFailure> open_upstream_socket(Family family, SocketType type,
                                                             const UpstreamOptions& options,
                                                             const KeptSource* kept = nullptr);

/// A UDP socket for a mapping (RFC 4787), bound and not connected, that leaves as `options` say.
/// Its port is `preferred` where that is free and not below 1024; then another of the same parity.
std::expected<UniqueFd, ConnectFailure> open_mapping_socket(Family family,
                                                            const UpstreamOptions& options,
                                                            std::uint16_t preferred);

}  // namespace shunt
