// SPDX-License-Identifier: GPL-2.0-only
// What the calls of captured programs may take, beside base/limits.h, and what comes of it at each
// limit. Of a command where nothing else is said; what is left out for one of them is counted in
// base/counters.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shunt::limits {

inline constexpr std::uint32_t kCallAwayMs = 250;  ///< looks at whether a call waits; for so long
                                                   ///< one that a signal interrupted may come again
inline constexpr std::size_t kCallsRepeated = 4'096;   ///< threads whose answer nobody took: the
                                                       ///< oldest calls begin anew
inline constexpr std::uint32_t kCallRepeatMs = 1'000;  ///< for so long it is kept
inline constexpr int kTracerLagMs = 20;  ///< between a process's end and its tracer's word of it

// Connections (capture/trapped_connects.h, capture/parking.h, capture/trapped_processes.h).
inline constexpr std::uint32_t kConnectUnaskedMs = 60'000;  ///< looks at one that nobody waits for
inline constexpr std::uint32_t kCallToldMs = 100;  ///< after an answer that a signal may have eaten
inline constexpr std::size_t kConnectsTold = 256;  ///< those; the oldest are taken for heard
inline constexpr std::size_t kConnectPeers = 1'048'576;  ///< the oldest show shunt's address
inline constexpr std::size_t kConnectsOwed = 4'096;  ///< failures that nobody asked for: the oldest
                                                     ///< sockets say nothing of theirs
inline constexpr std::size_t kParkingPlaces = 32;    ///< of IPv4 and of IPv6: then EADDRNOTAVAIL
inline constexpr std::size_t kCallingStreams = 16'384;  ///< no rule about processes matches what
                                                        ///< the oldest send

// Datagrams (capture/trapped_datagrams.h, capture/stand_ins.h).
inline constexpr std::size_t kReceivesWatched = 4'096;      ///< more are looked at now and then
inline constexpr std::size_t kDatagramSockets = 65'536;     ///< the oldest show stand-ins, and no
                                                            ///< rule about processes matches them
inline constexpr std::size_t kStandIns = 65'536;            ///< destinations, and senders to them
inline constexpr std::uint32_t kDatagramSendMs = 1'000;     ///< for a blocking send: then EAGAIN
inline constexpr std::uint32_t kDatagramSendAgainMs = 1;    ///< a buffer drains on loopback at once
inline constexpr std::size_t kDatagramControl = 16 * 1024;  ///< bytes; the kernel's is 20 KiB
inline constexpr std::size_t kTurnMessages = 32;            ///< of one call before others' turn
inline constexpr std::size_t kTurnMessageBytes = 256 * 1024;  ///< the same; 64 KiB may be one

// The library of `run --method preload` (capture/preload_capture.h).
inline constexpr std::size_t kPreloadMembers = 256;  ///< more are known by their environment alone
inline constexpr std::uint32_t kPreloadRequestMs = 2'000;   ///< a library sends it at once: else it
                                                            ///< is left without an answer
inline constexpr std::uint32_t kPreloadAcceptAgainMs = 10;  ///< when descriptors are short

}  // namespace shunt::limits
