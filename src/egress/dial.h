// SPDX-License-Identifier: GPL-2.0-only
// Opens upstream sockets. Every way out goes through here, so that the mark, the loop guard's
// observer and the meaning of each errno are the same for all of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>

#include "egress/upstream_socket.h"
#include "egress/way_out.h"
#include "net/socket.h"

namespace shunt {

/// One deadline over several waits: a peer that drips bytes does not get a new one with each.
class Deadline {
 public:
  explicit Deadline(std::uint32_t ms) : at_(Clock::now() + std::chrono::milliseconds(ms)) {}
  /// Milliseconds left, 0 when it has passed.
  [[nodiscard]] std::uint32_t left_ms() const { return ms_until(at_); }
  [[nodiscard]] Clock::time_point at() const { return at_; }

 private:
  Clock::time_point at_;
};

/// At least 1, at most 1000 seconds.
std::uint32_t us_since(Clock::time_point start);
/// Of Clock, for what atomics keep.
std::int64_t in_ms(Clock::time_point when);

struct Dialled {
  WatchedFd socket;
  ReportedUpstream reported;
};

/// A connection under way. No loop knows of its socket yet: in its first state it would report
/// EPOLLHUP, which would look like a failed connect.
struct Attempt {
  UniqueFd fd;
  ReportedUpstream reported;
  bool connected = false;  ///< already
};

/// When the server is told that its half of the handshake has arrived (TCP).
enum class HandshakeAck : std::uint8_t {
  at_once,
  /// For who sends something as soon as it is connected. Not for what a client is to say: it would
  /// wait for the server to take the connection first, some 30 us more.
  with_data,
};

/// Opens a socket of the destination's family and calls connect(). `kept` may be null.
std::expected<Attempt, ConnectFailure> begin_attempt(const Endpoint& destination, SocketType type,
                                                     const UpstreamOptions& options,
                                                     const KeptSource* kept = nullptr,
                                                     HandshakeAck ack = HandshakeAck::at_once);
/// Whether a TCP connect() that came to its end (the socket is writable) succeeded.
/// `error_reported`: epoll said EPOLLERR or EPOLLHUP, too; without it there is no error to ask for.
/// `reported`: of its Attempt.
std::expected<void, ConnectFailure> settle_attempt(int fd, const Endpoint& destination,
                                                   bool error_reported,
                                                   const ReportedUpstream& reported);

/// A connected TCP socket, not yet tuned: relay() needs none, others send_without_delay().
/// `options` outlives the task.
Task<std::expected<Dialled, ConnectFailure>> dial_tcp(EventLoop& loop, Endpoint destination,
                                                      const UpstreamOptions& options,
                                                      std::uint32_t timeout_ms);
/// The rest of that, for a TCP connection that is under way.
Task<std::expected<Dialled, ConnectFailure>> finish_dial(EventLoop& loop, Attempt attempt,
                                                         Endpoint destination,
                                                         std::uint32_t timeout_ms);
/// A connected UDP socket; never waits.
std::expected<Dialled, ConnectFailure> dial_udp(EventLoop& loop, const Endpoint& destination,
                                                const UpstreamOptions& options);
/// The rest of that, for an attempt with a datagram socket.
std::expected<Dialled, ConnectFailure> finish_dial_udp(EventLoop& loop, Attempt attempt);

/// A UDP socket that sends to any address of the family of flow's destination, bound to the port of
/// flow's source where that is free; never waits.
std::expected<Dialled, ConnectFailure> open_unconnected(EventLoop& loop, const Flow& flow,
                                                        const UpstreamOptions& options);

/// What an awaited readiness that did not come means: our own deadline, or shunt's stop.
ConnectFailure failure_from_wake(Wake wake);

}  // namespace shunt
