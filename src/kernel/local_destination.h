// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "net/endpoint.h"

namespace shunt {

/// Whether what is sent to `address` ends on this machine: 0.0.0.0, loopback, an address of its
/// own, a broadcast or anycast address of a network of its own. Asks the kernel's routes in the
/// network namespace of the calling thread, some 30 us; true as well where it cannot be asked.
[[nodiscard]] bool ends_on_this_machine(const Address& address);

}  // namespace shunt
