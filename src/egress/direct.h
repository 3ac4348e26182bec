// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>
#include <string>

#include "egress/way_out.h"

namespace shunt {

/// Dials the original destination from this process's network namespace.
std::shared_ptr<const WayOut> make_direct(const UpstreamOptions& options,
                                          std::string name = "direct");

}  // namespace shunt
