// SPDX-License-Identifier: GPL-2.0-only
// Sending and receiving over an Upstream, whatever stands between its socket and the bytes.
#pragma once

#include <string_view>

#include "egress/dial.h"
#include "egress/way_out.h"

namespace shunt {

/// All of it, waiting where the socket is full. `flags` go to send(2) where there is no layer.
/// Fails with timed_out, cancelled, or what errno means. The arguments outlive the task.
Task<std::expected<void, ConnectFailure>> send_all(EventLoop& loop, Upstream& upstream,
                                                   std::string_view bytes, Deadline deadline,
                                                   int flags = 0);
/// At least one byte, or 0 at the end that the peer has said. Fails as send_all() does.
Task<std::expected<std::size_t, ConnectFailure>> receive_some(EventLoop& loop, Upstream& upstream,
                                                              char* buffer, std::size_t size,
                                                              Deadline deadline);

}  // namespace shunt
