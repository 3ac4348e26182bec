// SPDX-License-Identifier: GPL-2.0-only
// Which interfaces a gateway captures on.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "kernel/links.h"

namespace shunt {

struct LanInterface {
  std::string name;
  std::string why;  ///< "192.168.1.1/24", or "named"
};

/// Those with an RFC 1918 or ULA address that do not carry a default route; in the order of
/// `addresses`. Pure.
std::vector<LanInterface> default_lan_interfaces(const std::vector<InterfaceAddress>& addresses,
                                                 const std::vector<std::string>& default_route);

/// The named ones, checked, or the default ones when none is named. May be empty only then.
Result<std::vector<LanInterface>> choose_lan_interfaces(const std::vector<std::string>& named);

}  // namespace shunt
