// SPDX-License-Identifier: GPL-2.0-only
// Limits of mappings (proxy/udp_mapping.h); those of UDP in all are in base/limits.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shunt::limits {

inline constexpr std::size_t kUdpMappings = 4096;               ///< upstream sockets of one worker
inline constexpr std::size_t kUdpMappingsPerClient = 1024;      ///< of one worker
inline constexpr std::size_t kUdpUnsolicited = 64;              ///< sessions of one mapping
inline constexpr std::uint32_t kUdpMappingTimeoutMs = 120'000;  ///< since the client last sent
inline constexpr int kUdpMappingBufferBytes = 1024 * 1024;      ///< received and not yet read
inline constexpr int kUdpTurnErrors = 64;                       ///< of one socket, read at a time

}  // namespace shunt::limits
