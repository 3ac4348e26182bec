// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "base/result.h"

namespace shunt {

/// Executes a shell with libshunt-preload.so and waits for it to say that it was loaded. The Error
/// says what is missing. Forks.
Result<void> probe_preload();

}  // namespace shunt
