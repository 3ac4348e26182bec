// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <algorithm>
#include <string_view>

namespace shunt {

/// Whether [via.NAME] or [listen.NAME] can be called so: ASCII letters, digits, "-", "_" and ".".
[[nodiscard]] constexpr bool is_section_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !name.empty() && std::ranges::all_of(name, allowed);
}

}  // namespace shunt
