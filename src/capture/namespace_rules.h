// SPDX-License-Identifier: GPL-2.0-only
// The nftables table of a capture namespace. Every address is local there, every packet goes out
// and comes in again through `lo`, and the question is only who gets it:
//  - what shunt itself sends carries a mark and goes to the program it is meant for;
//  - a TCP SYN or a datagram to anywhere goes to shunt's listeners by TPROXY; later segments find
//    their sockets by themselves;
//  - loopback stays inside, except name servers, which are the host's, or all of it when asked for;
//  - for addresses that may mean inside or the host (those name servers, all of loopback when asked
//    for, the host's own address) a program that listens inside comes first: nft's `socket`
//    expression looks it up;
//  - nothing else can be carried: it is rejected, above all an echo request, which the kernel would
//    answer itself, as if the world were 0.05 ms away. The kernel's own ICMP errors pass.
// Where connections are held (capture/hold.h) that is in the output hook: the kernel sends no ICMP
// error from a foreign address that came in by lo. Not those for addresses that may mean inside,
// since nobody can be looked up there yet.
//
// Nothing here keeps connection state, so conntrack stays off in this namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "capture/hold.h"
#include "net/endpoint.h"

namespace shunt {

struct NamespaceRules {
  std::uint32_t mark = 0;              ///< SO_MARK of shunt's sockets in the namespace
  std::uint16_t listen_port = 0;       ///< of the listeners on 127.0.0.1 and ::1
  unsigned udp_listeners = 1;          ///< with ports of their own from that one on
  bool ipv6 = true;                    ///< this kernel has IPv6
  std::vector<Address> own_addresses;  ///< the host's, lent to the namespace
  std::vector<Address> name_servers;   ///< loopback addresses whose port 53 is the host's
  std::optional<HoldSpec> hold = {};   ///< connections wait until their server has answered
  bool localhost_is_host = false;      ///< loopback means the host's, where nobody listens inside
};

[[nodiscard]] std::string namespace_rules_text(const NamespaceRules& rules);

}  // namespace shunt
