// SPDX-License-Identifier: GPL-2.0-only
// Capture by REDIRECT: conntrack rewrites the destination of a new connection to our listener and
// remembers the one it had (SO_ORIGINAL_DST). For kernels without TPROXY: TCP only, since for a
// datagram nothing says where it was going (IP_RECVORIGDSTADDR gives the rewritten address, tried
// on 6.18). Needs no policy routing.
//
// prerouting rewrites to the incoming interface's address, so the listener is on the wildcard; the
// input chain refuses who dials it directly.
#pragma once

#include <string>

#include "capture/capture_spec.h"

namespace shunt::redirect {

/// The body of the owned table.
std::string ruleset(const CaptureSpec& spec);

/// The body of the persistent table of on-exit = closed. Before the destination is rewritten it
/// marks what would be captured and what was; the owned table takes the mark off again; what still
/// bears it later belongs to nobody. A new connection is dropped. One that was captured is reset:
/// dropped, its packets would come again after conntrack has forgotten it (a minute after the FIN
/// that the kernel sends for shunt), and would then pass as those of a connection that was there
/// before shunt (tried). For the same reason the table keeps translation going: a FIN that is not
/// translated is answered with a reset to [::1], which leaves through the uplink.
std::string closed_ruleset(const CaptureSpec& spec);

}  // namespace shunt::redirect
