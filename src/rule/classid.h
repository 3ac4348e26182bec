// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace shunt {

/// A class of the cgroup controller net_cls, as tc(8) writes it ("1:10", hexadecimal), or the whole
/// number as the kernel does ("0x10010", "65552"). Nothing for others, and for 0, which all have
/// that were given none.
[[nodiscard]] std::optional<std::uint32_t> parse_classid(std::string_view text);

}  // namespace shunt
