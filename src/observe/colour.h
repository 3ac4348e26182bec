// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace shunt {

/// SGR parameters (ECMA-48). Colours repeat what the words say and never stand for them.
namespace sgr {
inline constexpr std::string_view kDim = "2";
inline constexpr std::string_view kBold = "1";
inline constexpr std::string_view kRed = "31";
inline constexpr std::string_view kGreen = "32";
inline constexpr std::string_view kYellow = "33";
inline constexpr std::string_view kCyan = "36";
}  // namespace sgr

[[nodiscard]] inline std::string painted(bool colour, std::string_view parameter,
                                         std::string_view text) {
  return colour ? fmt::format("\x1b[{}m{}\x1b[0m", parameter, text) : std::string(text);
}

}  // namespace shunt
