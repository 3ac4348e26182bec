// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "base/result.h"
#include "capture/listeners.h"

namespace shunt {

/// The sockets that eBPF sends captured traffic to, one set for each worker: TCP on 127.0.0.1 and
/// [::1], UDP on the wildcard addresses, since each destination has an address of its own, but
/// deaf to every interface other than `lo`. All on one free port. In the network namespace of the
/// calling thread; needs no privilege without a `mark`.
Result<Listeners> make_cgroup_listeners(unsigned workers, std::uint32_t mark);

}  // namespace shunt
