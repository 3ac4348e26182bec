// SPDX-License-Identifier: GPL-2.0-only
// What DNS may take, beside base/limits.h. Of a worker where nothing else is said.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shunt::limits {

inline constexpr std::size_t kDnsQueries = 1024;          ///< that wait for an answer
inline constexpr std::size_t kDnsQueriesOfClient = 256;   ///< of one client address
inline constexpr std::uint32_t kDnsTimeoutMs = 4'000;     ///< for an answer, then SERVFAIL
inline constexpr std::uint32_t kDnsConnectMs = 3'000;     ///< for TLS with the server
inline constexpr std::uint32_t kDnsOtherFamilyMs = 50;    ///< RFC 8305 section 3
inline constexpr std::uint32_t kDnsIdleMs = 10'000;       ///< a connection without questions
inline constexpr std::uint32_t kDnsPauseMs = 1'000;       ///< a server that failed is left alone
inline constexpr std::uint32_t kDnsAnsweredMs = 1'000;    ///< a UDP session without questions
inline constexpr std::size_t kDnsCached = 4096;           ///< answers
inline constexpr std::size_t kDnsCachedBytes = 4 << 20;   ///< of their messages
inline constexpr std::uint32_t kDnsCachedS = 3600;        ///< whatever the TTL says
inline constexpr std::size_t kDnsSeenBytes = 16 << 10;    ///< of a message that passes over TCP
inline constexpr std::size_t kFakeNames = 65'536;         ///< with a fake address; of the process
inline constexpr std::uint32_t kFakeTtlS = 60;            ///< of a fake answer
inline constexpr std::size_t kFakeStateBytes = 64 << 20;  ///< of the file
inline constexpr std::uint32_t kFakeTidyMs = 5'000;       ///< between attempts to write it anew

}  // namespace shunt::limits
