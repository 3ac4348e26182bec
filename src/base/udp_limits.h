// SPDX-License-Identifier: GPL-2.0-only
// The limits of base/limits.h for UDP.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shunt::limits {

inline constexpr std::size_t kUdpSessions = 8192;           ///< of one worker
inline constexpr std::size_t kUdpSessionsPerClient = 2048;  ///< of one worker
inline constexpr std::size_t kUdpMappings = 4096;           ///< upstream sockets of one worker
inline constexpr std::size_t kUdpMappingsPerClient = 1024;  ///< of one worker
inline constexpr std::size_t kUdpUnsolicited = 64;          ///< sessions of one mapping
inline constexpr std::size_t kUdpReplySockets = 512;        ///< of one worker
inline constexpr std::uint32_t kUdpReplyIdleMs = 10'000;    ///< then its port is given up
inline constexpr std::size_t kUdpDials = 256;               ///< associations under way, a worker
inline constexpr std::size_t kUdpDialsPerClient = 64;
inline constexpr std::size_t kUdpQueuedDatagrams = 16;       ///< of one session while it dials
inline constexpr std::size_t kUdpQueuedBytes = 1024 * 1024;  ///< of all that dial, a worker
inline constexpr std::size_t kUdpQueuedBytesPerClient = 256 * 1024;
inline constexpr int kUdpTurnBatches = 16;            ///< batches for one socket before it yields
inline constexpr int kUdpTurnErrors = 64;             ///< of one socket, read at a time
inline constexpr unsigned kUdpErrorsPerSecond = 100;  ///< ICMP errors sent to clients, a worker
inline constexpr std::size_t kUdpDatagramBytes = 65'535;
inline constexpr int kUdpReceiveBufferBytes = 4 * 1024 * 1024;  ///< of one worker's listener
inline constexpr int kUdpMappingBufferBytes = 1024 * 1024;      ///< of a socket with many peers
inline constexpr std::size_t kUdpBatch = 32;                    ///< datagrams for one recvmmsg
inline constexpr std::uint32_t kUdpDnsTimeoutMs = 10'000;
inline constexpr std::uint32_t kUdpUnrepliedTimeoutMs = 120'000;
inline constexpr std::uint32_t kUdpRepliedTimeoutMs = 300'000;
inline constexpr std::uint32_t kUdpQuicTimeoutMs = 300'000;     ///< once replied
inline constexpr std::uint32_t kUdpMappingTimeoutMs = 120'000;  ///< since the client last sent
inline constexpr std::uint32_t kUdpRefusedTimeoutMs = 1'000;  ///< then a refused one is tried again
inline constexpr std::uint32_t kUdpDrainTimeoutMs = 2'000;    ///< for an answer under way

}  // namespace shunt::limits
