// SPDX-License-Identifier: GPL-2.0-only
// Happy Eyeballs (RFC 8305) for a server that has several addresses: attempts overlap, each begins
// kAttemptDelayMs after the one before or as soon as that has failed, the families take turns, and
// the first connection wins. When kMostAttempts are unanswered the oldest gives way to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "egress/dial.h"

namespace shunt {

inline constexpr std::uint32_t kAttemptDelayMs = 250;  ///< RFC 8305 section 5

/// At the same time, of one race.
inline constexpr std::size_t kMostAttempts = 3;

/// Races of the process at the same time; beyond that addresses are tried one after another.
inline constexpr int kMostRaces = 16;
/// A race holds up to kMostAttempts sockets and an epoll set; one socket is in the flow's budget:
/// so many more are not.
inline constexpr int kFdsOfRace = static_cast<int>(kMostAttempts);

/// What a process may hold for races whose way out leads to so many addresses of proxies.
[[nodiscard]] constexpr int race_descriptors(std::size_t addresses) {
  return addresses > 1 ? kMostRaces * kFdsOfRace : 0;
}

/// In the order in which they are tried: the first one's family and the other in turns (section 4),
/// with the one at `first` (what worked before) ahead of all.
[[nodiscard]] std::vector<Endpoint> attempt_order(const std::vector<Endpoint>& addresses,
                                                  std::size_t first);

struct RaceWon {
  Dialled dialled;
  Endpoint address;
};

/// Begins one attempt; called by race() until that returns.
using BeginAttempt = std::function<std::expected<Attempt, ConnectFailure>(const Endpoint&)>;

/// Not empty. Fails with what the last attempt met, or timed_out; losers are closed. Where there
/// are several addresses it holds up to kFdsOfRace descriptors beside its flow's own while it runs.
/// The arguments outlive the task.
Task<std::expected<RaceWon, ConnectFailure>> race(EventLoop& loop,
                                                  const std::vector<Endpoint>& ordered,
                                                  const UpstreamOptions& options,
                                                  std::uint32_t timeout_ms,
                                                  HandshakeAck ack = HandshakeAck::at_once);
Task<std::expected<RaceWon, ConnectFailure>> race(EventLoop& loop,
                                                  const std::vector<Endpoint>& ordered,
                                                  const BeginAttempt& begin,
                                                  std::uint32_t timeout_ms);

}  // namespace shunt
