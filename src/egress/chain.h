// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>
#include <string>

#include "egress/way_out.h"

namespace shunt {

/// The last hop of a chain under the chain's own name.
std::shared_ptr<const WayOut> make_chain(std::string name, std::shared_ptr<const WayOut> last);

}  // namespace shunt
