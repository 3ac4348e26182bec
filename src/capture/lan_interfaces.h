// SPDX-License-Identifier: GPL-2.0-only
// Which interfaces a gateway captures on.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "base/error.h"
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

struct LanMistake {
  Error error;
  std::string name = {};  ///< of those named, the one that it is about; "": about none
};

/// The named ones, checked, or the default ones when none is named. May be empty only then.
std::expected<std::vector<LanInterface>, LanMistake> choose_lan_interfaces(
    const std::vector<std::string>& named);

}  // namespace shunt
