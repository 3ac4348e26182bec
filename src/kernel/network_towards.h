// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "net/network.h"

namespace shunt {

/// The network in which `address` is reached: that of the route which unmarked packets of this
/// machine's own take there, by whatever table its rules lead to. The address alone where that is a
/// default route, or there is none. Asks the kernel in the network namespace of the calling thread
/// for this one route, some 30 us however many there are.
[[nodiscard]] Network network_towards(const Address& address);

}  // namespace shunt
