// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string_view>

namespace shunt {

/// CRC-32C (Castagnoli), as RFC 9260 appendix A defines it. `before` is the result for the bytes
/// that went ahead.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes, std::uint32_t before = 0);

}  // namespace shunt
