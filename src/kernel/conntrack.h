// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "base/result.h"

namespace shunt {

/// Makes the kernel forget the connections whose connection mark is `mark` under `mask`, in the
/// network namespace of the calling thread (nfnetlink_conntrack; needs CAP_NET_ADMIN).
///
/// A datagram flow that was captured keeps its entry for as long as packets come. The entry says
/// that no source translation applies (none did, while the packets ended here), so once they are
/// forwarded again they would leave with the client's private address. Forgotten, the flow is new
/// and masqueraded like any other.
Result<void> forget_connections(std::uint32_t mark, std::uint32_t mask);

/// The same but for TCP, one connection at a time. Errors: that of the listing; what is gone before
/// its turn comes is none.
Result<void> forget_but_tcp(std::uint32_t mark, std::uint32_t mask);

}  // namespace shunt
