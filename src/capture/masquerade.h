// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>

#include "base/result.h"

namespace shunt {

/// Does a ruleset, as nft prints it, translate source addresses anywhere? Pure.
bool translates_sources(std::string_view ruleset);

/// Whether any rule of this network namespace does, legacy iptables included (there a loaded nat
/// table counts: its rules cannot be read without its library).
Result<bool> someone_masquerades();

}  // namespace shunt
