// SPDX-License-Identifier: GPL-2.0-only
// A way out whose upstream sockets bear the client's own address, so that the server sees who asks.
//
// The socket is transparent (IP_TRANSPARENT, ip(7)) and bound to an address of another host; what
// brings the answers back is capture/return_path.h. The port is the kernel's choice unless
// KeptEnd::port asks for the client's: that one may be in use, or in TIME_WAIT from the last
// connection to the same server, and is then given up for another.
//
// A client that may not be spoken for is an error of that flow, and never carried from another
// address: the server would take it for somebody else. This machine's own traffic (capture.host)
// leaves from the address that it has, by an ordinary bind.
//
// A server whose answers go another way looks dead. When a connection had no answer in time, one of
// this machine's own is tried (egress/astray_probe.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "egress/way_out.h"
#include "net/network.h"

namespace shunt {

/// What upstream sockets keep of the client's end.
enum class KeptEnd : std::uint8_t { none, address, port };

struct KeepSourceOptions {
  bool port = false;            ///< and the port, where it is free
  std::vector<Network> from{};  ///< who may be spoken for; empty: every captured client
};

/// Needs CAP_NET_ADMIN or CAP_NET_RAW when it dials.
std::shared_ptr<const WayOut> make_keep_source(const UpstreamOptions& options,
                                               KeepSourceOptions keep, std::string name);

}  // namespace shunt
