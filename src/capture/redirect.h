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

/// The body of the persistent table of on-exit = closed. It marks what would be captured before
/// the destination is rewritten and drops it afterwards if nobody captured it (the connection mark
/// says who did). Of a captured connection it drops what is not rewritten any more: conntrack
/// stops doing that when the namespace's last nat chain goes.
std::string closed_ruleset(const CaptureSpec& spec);

}  // namespace shunt::redirect
