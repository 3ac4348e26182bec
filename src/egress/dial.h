// SPDX-License-Identifier: GPL-2.0-only
// Opens upstream sockets. Every way out goes through here, so that the mark, the loop guard's
// observer and the meaning of each errno are the same for all of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>

#include "egress/way_out.h"
#include "net/socket.h"

namespace shunt {

/// One deadline over several waits: a peer that drips bytes does not get a new one with each.
class Deadline {
 public:
  explicit Deadline(std::uint32_t ms) : at_(Clock::now() + std::chrono::milliseconds(ms)) {}
  /// Milliseconds left, 0 when it has passed.
  [[nodiscard]] std::uint32_t left_ms() const;

 private:
  Clock::time_point at_;
};

struct Dialled {
  WatchedFd socket;
  ReportedUpstream reported;
};

/// A connected, tuned TCP socket. `options` outlives the task.
Task<std::expected<Dialled, ConnectFailure>> dial_tcp(EventLoop& loop, Endpoint destination,
                                                      const UpstreamOptions& options,
                                                      std::uint32_t timeout_ms);
/// A connected UDP socket; never waits.
std::expected<Dialled, ConnectFailure> dial_udp(EventLoop& loop, const Endpoint& destination,
                                                const UpstreamOptions& options);

/// What an awaited readiness that did not come means: our own deadline, or shunt's stop.
ConnectFailure failure_from_wake(Wake wake);

}  // namespace shunt
