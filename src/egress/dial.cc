// SPDX-License-Identifier: GPL-2.0-only
#include "egress/dial.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/counters.h"
#include "egress/upstream_socket.h"
#include "kernel/toa.h"
#include "net/socket.h"

namespace shunt {
namespace {

using std::unexpected;

// A connect() to a port of this machine's ephemeral range where nobody listens may be given that
// very port as its own, and then connects to itself (RFC 9293 section 3.5, simultaneous open).
bool connected_to_itself(int fd, const Endpoint& destination, const ReportedUpstream& reported) {
  if (reported.local() != nullptr) return *reported.local() == destination;
  const auto local = local_endpoint(fd);
  return local && *local == destination;
}

// A socket with the client's own port as well cannot come back as a new flow: the kernel would take
// its packets for the client's connection. To report it would only turn away the client's next one.
ReportedUpstream reported_attempt(int fd, const Endpoint& destination,
                                  const UpstreamOptions& options, const KeptSource* kept) {
  if (kept == nullptr || kept->own) return {options.observer, fd, destination};
  if (!kept->port) return {options.observer, fd, destination, &kept->client};
  if (options.observer != nullptr) options.observer->not_opened();
  return {};
}

}  // namespace

std::expected<Attempt, ConnectFailure> begin_attempt(const Endpoint& destination, SocketType type,
                                                     const UpstreamOptions& options,
                                                     const KeptSource* kept, HandshakeAck ack) {
  auto fd = open_upstream_socket(destination.address.family(), type, options, kept);
  if (!fd) return unexpected(std::move(fd).error());
  if (options.toa != nullptr && type == SocketType::stream && options.client.port != 0 &&
      !options.toa->tag(fd->get(), options.client)) {
    count(Counter::toa_left_out);  // no reason not to connect
  }
  if (ack == HandshakeAck::with_data && type == SocketType::stream)
    acknowledge_with_data(fd->get());
  const SocketAddress address(destination);
  if (options.observer != nullptr) options.observer->opening();
  const int result = ::connect(fd->get(), address.get(), address.size());
  if (result != 0 && errno != EINPROGRESS && errno != EINTR) {
    const int error = errno;
    if (options.observer != nullptr) options.observer->not_opened();
    const bool again = kept != nullptr && kept->port;  // with another port
    if (error == EADDRNOTAVAIL && !again) count(Counter::ports_short);
    return unexpected(failure_from_errno(error));
  }
  auto reported = reported_attempt(fd->get(), destination, options, kept);
  return Attempt{.fd = std::move(*fd), .reported = std::move(reported), .connected = result == 0};
}

std::expected<void, ConnectFailure> settle_attempt(int fd, const Endpoint& destination,
                                                   bool error_reported,
                                                   const ReportedUpstream& reported) {
  const int error = error_reported ? pending_error(fd) : 0;
  if (error != 0) return unexpected(failure_from_errno(error));
  if (connected_to_itself(fd, destination, reported))
    return unexpected(failure_from_errno(ECONNREFUSED));
  return {};
}

std::uint32_t us_since(Clock::time_point start) {
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(took.count(), 1, 1'000'000'000));
}

std::int64_t in_ms(Clock::time_point when) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
}

ConnectFailure failure_from_wake(Wake wake) {
  return {.reason = wake == Wake::cancelled ? ConnectReason::cancelled : ConnectReason::timed_out,
          .os_error = 0,
          .detail = {}};
}

Task<std::expected<Dialled, ConnectFailure>> dial_tcp(EventLoop& loop, Endpoint destination,
                                                      const UpstreamOptions& options,
                                                      std::uint32_t timeout_ms) {
  auto attempt = begin_attempt(destination, SocketType::stream, options);
  if (!attempt) co_return unexpected(std::move(attempt).error());
  co_return co_await finish_dial(loop, std::move(*attempt), destination, timeout_ms);
}

Task<std::expected<Dialled, ConnectFailure>> finish_dial(EventLoop& loop, Attempt attempt,
                                                         Endpoint destination,
                                                         std::uint32_t timeout_ms) {
  // epoll looks at the socket when it is added, so nothing is missed.
  const std::uint8_t assumed_ready = attempt.connected ? Slot::kWritable : std::uint8_t{0};
  auto socket = WatchedFd::create(loop, std::move(attempt.fd), assumed_ready);
  if (!socket) co_return unexpected(failure_from_errno(socket.error().os_error));
  const Wake wake = co_await loop.writable(socket->slot(), timeout_ms);
  if (wake != Wake::ready) co_return unexpected(failure_from_wake(wake));
  const auto settled = settle_attempt(socket->fd(), destination, socket->slot().has(Slot::kFailed),
                                      attempt.reported);
  if (!settled) co_return unexpected(settled.error());
  co_return Dialled{.socket = std::move(*socket), .reported = std::move(attempt.reported)};
}

std::expected<Dialled, ConnectFailure> dial_udp(EventLoop& loop, const Endpoint& destination,
                                                const UpstreamOptions& options) {
  auto attempt = begin_attempt(destination, SocketType::datagram, options);
  if (!attempt) return unexpected(std::move(attempt).error());
  return finish_dial_udp(loop, std::move(*attempt));
}

std::expected<Dialled, ConnectFailure> finish_dial_udp(EventLoop& loop, Attempt attempt) {
  auto socket = WatchedFd::create(loop, std::move(attempt.fd), Slot::kWritable);
  if (!socket) return unexpected(failure_from_errno(socket.error().os_error));
  return Dialled{.socket = std::move(*socket), .reported = std::move(attempt.reported)};
}

// Reported as leading anywhere: LoopGuard::is_own_datagram().
std::expected<Dialled, ConnectFailure> open_unconnected(EventLoop& loop, const Flow& flow,
                                                        const UpstreamOptions& options) {
  const Family family = flow.original_destination.address.family();
  if (options.observer != nullptr) options.observer->opening();
  auto fd = open_mapping_socket(family, options, flow.source.port);
  if (!fd) {
    if (options.observer != nullptr) options.observer->not_opened();
    return unexpected(std::move(fd).error());
  }
  ReportedUpstream reported(options.observer, fd->get(), Endpoint{});
  auto socket = WatchedFd::create(loop, std::move(*fd), Slot::kWritable);
  if (!socket) return unexpected(failure_from_errno(socket.error().os_error));
  return Dialled{.socket = std::move(*socket), .reported = std::move(reported)};
}

}  // namespace shunt
