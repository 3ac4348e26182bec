// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <expected>

#include "egress/way_out.h"
#include "net/socket.h"

namespace shunt {

/// A socket that leaves as `options` say (mark, interface, source) and is not connected yet. Where
/// the user's own choice cannot be kept there is no socket: traffic never takes another path than
/// the configured one.
std::expected<UniqueFd, ConnectFailure> open_upstream_socket(Family family, SocketType type,
                                                             const UpstreamOptions& options);

}  // namespace shunt
