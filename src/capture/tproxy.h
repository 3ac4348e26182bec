// SPDX-License-Identifier: GPL-2.0-only
// Capture by TPROXY: the packet stays as it is, a mark routes it to this machine (a `local` route
// in a table of our own), and `tproxy` hands it to our listener. So the destination is never
// rewritten, UDP works as TCP does, and nothing is left in conntrack but a mark.
//
//   forwarded   prerouting: SYN or new datagram -> connection mark -> tproxy + packet mark
//               ip rule "fwmark F iif LAN" -> table N -> local default
//   own         output (type route: a changed mark is routed again): connection mark + packet mark
//               ip rule "fwmark O iif lo" -> table N -> the packet comes in again through lo
//               prerouting: mark O -> tproxy
//
// Later packets of a captured flow are known by the connection mark, of TCP in the original
// direction only; so replies of the machine's own services, and whatever was under way before, stay
// as they are. TCP of a forwarded flow whose conntrack entry was flushed is known by its
// transparent socket. ICMP errors about a captured flow (a smaller MTU on the client's side, a
// client that is gone) belong to the proxy's sockets, so they follow the mark too.
//
// What the LAN sends to this machine itself is let be, but for datagrams to an upstream socket of
// shunt's: that is another client's mapping (RFC 4787 REQ-9, hairpinning), which shall see its peer
// as the world sees it.
//
// Limits: a program that binds to a device (SO_BINDTODEVICE) is not routed again and leaves as
// before. Why there are two marks: kernel/marks.h.
#pragma once

#include <string>
#include <vector>

#include "capture/capture_spec.h"
#include "kernel/policy_route.h"

namespace shunt::tproxy {

/// The body of the owned table.
std::string ruleset(const CaptureSpec& spec);

/// The body of the persistent table of on-exit = closed. It drops what the owned table would have
/// captured: while that one is there, such a packet carries our mark when it gets here, one
/// priority later; once it has died with the process, none does. shunt's own sockets carry the
/// egress mark in either case. A TCP connection that was captured is reset, not dropped, for the
/// reason that redirect::closed_ruleset() gives.
std::string closed_ruleset(const CaptureSpec& spec);

/// `first_priority` and `table` of the Allotment; routes name `device`.
std::vector<RuleSpec> rules(const CaptureSpec& spec, std::uint32_t first_priority,
                            std::uint32_t table);
std::vector<RouteSpec> routes(const CaptureSpec& spec, std::string_view device,
                              std::uint32_t table);

}  // namespace shunt::tproxy
