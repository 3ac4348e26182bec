// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/error.h"
#include "egress/way_out_spec.h"

namespace shunt {

inline constexpr std::size_t kDeepestWayOut = 32;  ///< of ways out that lead through each other

/// An error for each way that leads through itself, and for what is deeper than kDeepestWayOut;
/// names that do not exist are passed over. Pure.
[[nodiscard]] std::vector<Error> way_out_cycles(std::span<const WayOutSpec> specs);

}  // namespace shunt
