// SPDX-License-Identifier: GPL-2.0-only
// The second word of a message's header (RFC 1035 section 4.1.1; AD, CD: RFC 2535
// section 6.1).
#pragma once

#include <cstdint>

namespace shunt::dns {

inline constexpr std::uint16_t kResponse = 0x8000;
inline constexpr std::uint16_t kOpcode = 0x7800;
inline constexpr std::uint16_t kTruncated = 0x0200;
inline constexpr std::uint16_t kRecursionDesired = 0x0100;
inline constexpr std::uint16_t kRecursionAvailable = 0x0080;
inline constexpr std::uint16_t kAuthenticData = 0x0020;
inline constexpr std::uint16_t kCheckingDisabled = 0x0010;
inline constexpr std::uint16_t kRcode = 0x000f;

}  // namespace shunt::dns
