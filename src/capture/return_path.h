// SPDX-License-Identifier: GPL-2.0-only
// How answers find an upstream socket that bears a client's address (keep-source on a way out). To
// the kernel such an answer is a packet for another host, to be forwarded. So:
//
//   from elsewhere   prerouting: it belongs to such a socket -> packet mark R
//                    ip rule "fwmark R" -> table N -> local default: delivered here
//   from here        (a server on this machine) output, type route: connection mark R, in the reply
//                    direction -> packet mark O -> ip rule "fwmark O iif lo" -> table N
//
// What belongs to such a socket is known twice over: by the connection mark, which output sets when
// the socket's first packet leaves, and where there is none (connection tracking was flushed, or a
// rule of somebody's switches it off) by the socket itself, which bears Marks::kept(). The first
// also knows sockets in TIME_WAIT, which have no mark any more. ICMP errors follow the same ways:
// path MTU discovery depends on them.
//
// With src_valid_mark=1 the reverse path lookup of IPv4 bears the packet's mark, finds `local
// default` and drops the packet as martian (kernel/marks.h). That lookup says `iif lo`, as no
// packet from elsewhere does, and is sent past the rule:
//
//   P+1 fwmark R iif lo goto P+3;  P+2 fwmark R lookup N;  P+3 fwmark R nop
//
// Source translation: a nat chain of ours, one priority before the usual one, binds these
// connections to the address that they have. The kernel then asks no other chain, so a masquerade
// rule of somebody's does not put this machine's address in the place of the client's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "capture/capture_spec.h"
#include "kernel/policy_route.h"

namespace shunt::return_path {

/// The chains for the owned table; empty without CaptureSpec::keep_source.
std::string chains(const CaptureSpec& spec);

/// Four priorities from `first_priority` on; `table` is the Allotment's, with its local routes.
std::vector<RuleSpec> rules(const CaptureSpec& spec, std::span<const Family> families,
                            std::uint32_t first_priority, std::uint32_t table);

}  // namespace shunt::return_path
