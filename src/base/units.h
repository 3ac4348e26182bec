// SPDX-License-Identifier: GPL-2.0-only
// Numbers as people write and read them. A unit is required on what is read, so that nobody has to
// guess whether `--sniff-wait 300` meant seconds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shunt {

/// Milliseconds of "200ms", "10s", "5m", "2h", "1d". Whole numbers only; at most UINT32_MAX ms
/// (49 days).
[[nodiscard]] Result<std::uint32_t> parse_duration_ms(std::string_view text);

/// As it would be typed: "200ms", "1m", "49d" for the longest.
[[nodiscard]] std::string typed_duration(std::uint32_t milliseconds);

/// A decimal whole number, nothing before or after it.
[[nodiscard]] Result<std::uint32_t> parse_count(std::string_view text);

/// Powers of 1000, two significant digits at least: "0", "812", "1.2k", "88k", "3.4M".
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);

/// "84 ms", "1.3 s", "42 s", "2 min 5 s", "1 h 10 min".
[[nodiscard]] std::string format_duration_ms(std::uint64_t milliseconds);

}  // namespace shunt
