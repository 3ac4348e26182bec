// SPDX-License-Identifier: GPL-2.0-only
// DNS over TCP (RFC 7766) that passes by: what proxy/dns_watch.h is to datagrams. Messages longer
// than limits::kDnsSeenBytes pass unseen, and what is no DNS ends the looking.
#pragma once

#include <memory>

#include "dns/memory.h"
#include "flow/flow.h"
#include "flow/tap.h"

namespace shunt {

/// `memory` outlives the tap. `inner`, which may be null, sees and decides as without it.
[[nodiscard]] std::unique_ptr<Tap> make_dns_tap(dns::Memory& memory, const Flow& flow,
                                                std::unique_ptr<Tap> inner);

}  // namespace shunt
