// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "base/result.h"

namespace shunt {

/// Makes a child's socket for it, bound to the loopback interface, as `shunt route` makes those of
/// a command. The Error says what this kernel lacks. Forks: before any thread is started.
Result<void> probe_routed_sockets();

}  // namespace shunt
