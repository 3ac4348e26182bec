// SPDX-License-Identifier: GPL-2.0-only
// What the calls of captured programs may take, beside base/limits.h. Of a command where nothing
// else is said; what is left out for one of them is counted in base/counters.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shunt::limits {

inline constexpr std::uint32_t kCallAwayMs = 250;      ///< between looks at whether a call waits
inline constexpr std::size_t kCallsRepeated = 4'096;   ///< threads whose answer nobody took
inline constexpr std::uint32_t kCallRepeatMs = 1'000;  ///< for so long it is kept

// Datagrams (capture/trapped_datagrams.h, capture/stand_ins.h).
inline constexpr std::size_t kReceivesWatched = 4'096;        ///< more are looked at now and then
inline constexpr std::size_t kDatagramSockets = 65'536;       ///< the oldest show stand-ins
inline constexpr std::size_t kStandIns = 65'536;              ///< destinations, and senders to them
inline constexpr std::uint32_t kDatagramSendMs = 1'000;       ///< for a blocking send: then EAGAIN
inline constexpr std::size_t kDatagramControl = 16 * 1024;    ///< bytes; the kernel's is 20 KiB
inline constexpr std::size_t kTurnMessages = 32;              ///< of one call before others' turn
inline constexpr std::size_t kTurnMessageBytes = 256 * 1024;  ///< the same; 64 KiB may be one

}  // namespace shunt::limits
