// SPDX-License-Identifier: GPL-2.0-only
// The sockets that captured traffic ends in, one set for each worker; the kernel spreads
// connections over them (SO_REUSEPORT, socket(7)). It would choose by addresses and ports of both
// ends, but all datagrams of a client socket are to meet on one worker, which keeps its mapping
// (proxy/udp_mapping.h). So each worker has a UDP port of its own, and the rules choose by the
// client's end alone (udp_shares() in capture/ruleset_text.h).
//
// For TPROXY they sit on 127.0.0.1 and [::1], so nobody on the network can dial them: nft's
// `tproxy to ADDRESS` looks the socket up by that address and needs no route_localnet. For REDIRECT
// the kernel picks the address (the incoming interface's), so the socket is on the wildcard, and
// the ruleset turns direct dials away.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "kernel/marks.h"

namespace shunt {

struct ListenerOptions {
  CaptureMethod method = CaptureMethod::tproxy;
  unsigned workers = 1;
  std::uint32_t mark = 0;  ///< of the accepted sockets; keeps tcp_fwmark_accept from copying one
  bool udp = true;         ///< TPROXY only
  /// The first so many workers take datagrams, by the ports from the TCP port on.
  unsigned udp_listeners = 1;
  std::uint16_t port = 0;  ///< 0: any that is free
  /// A SYN with the mark of a worker goes to the listener of that worker; without any, and for all
  /// other SYNs, the kernel chooses.
  HoldMarks hold = {};
};

struct Listeners {
  std::vector<ListenerSet> workers;
  std::uint16_t port = 0;     ///< the same for both families; UDP's from there on
  bool ipv6 = true;           ///< false on a kernel without IPv6
  std::vector<Endpoint> own;  ///< for ProxyOptions::own_listeners
};

/// All that listeners with these ports have.
std::vector<Endpoint> own_endpoints(const std::vector<Address>& addresses, std::uint16_t port,
                                    unsigned udp_listeners);

/// Makes them in the network namespace of the calling thread; they listen at once, so rules may
/// follow before the workers run. TPROXY needs CAP_NET_ADMIN.
Result<Listeners> make_listeners(const ListenerOptions& options);

}  // namespace shunt
