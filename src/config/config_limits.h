// SPDX-License-Identifier: GPL-2.0-only
// The maxima of a configuration file; those of the rules in it are in base/limits.h.
#pragma once

#include <cstddef>

#include "base/limits.h"

namespace shunt::limits {

inline constexpr std::size_t kConfigBytes = 32 << 20;  ///< of the file; long lists have their own
inline constexpr std::size_t kConfigMistakes = 20;     ///< reported at once

}  // namespace shunt::limits
