// SPDX-License-Identifier: GPL-2.0-only
// TCP connections of programs whose connect() is trapped. Each is a held flow (flow/admission.h):
// the program's own socket is parked (capture/parking.h), the flow is decided and dialled as any
// other, and then the result goes to the program:
//
//   blocking socket       its call returns then, with 0 or the true errno; a signal may call it
//                         away, after which it is as if the socket were non-blocking
//   non-blocking socket   EINPROGRESS at once; then it is writable, and SO_ERROR says 0 or the
//   errno
//
// The socket stays the program's, with its options and what it bound it to. What the program cannot
// see any more is remembered by the socket's cookie: its peer, and the errno of a failed dial until
// somebody asks for it. A program that reads instead of asking gets ECONNRESET.
//
// What a rule drops, and what shunt has waited for long enough, is left parked: the kernel gives up
// when it would have given up anyhow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/lru_map.h"
#include "capture/parking.h"
#include "capture/trapped_socket.h"
#include "net/task.h"
#include "net/timer_wheel.h"

namespace shunt {

/// On the worker's thread. Outlives the flows that it starts.
class TrappedConnects {
 public:
  TrappedConnects(CallContext& context, Parking parking, bool early)
      : context_(context), parking_(std::move(parking)), early_(early) {}

  /// Of a TCP socket, to a destination that is captured.
  CallAnswer connect(const TrappedCall& call, TrappedSocket socket, const Endpoint& destination);
  /// Of any internet socket, to one that is not: as the program asked, but by us, so that it is the
  /// address that was looked at.
  CallAnswer connect_natively(const TrappedCall& call, TrappedSocket socket,
                              const SocketAddress& address);
  /// connect() with AF_UNSPEC.
  CallAnswer disconnect(const TrappedSocket& socket);

  [[nodiscard]] bool has_failures() const { return !failures_.empty(); }
  /// The errno that SO_ERROR is to say; it says so once.
  std::optional<int> take_failure(const TrappedSocket& socket);
  [[nodiscard]] bool has_peers() const { return !peers_.empty(); }
  /// Where a socket whose peer is a parking place went; nothing: it went nowhere.
  std::optional<Endpoint> peer_of(std::uint64_t cookie);
  [[nodiscard]] bool is_place(const Endpoint& endpoint) const {
    return parking_.is_place(endpoint);
  }

 private:
  class Parked;

  static constexpr std::size_t kMostPeers = 65'536;    // the oldest are forgotten
  static constexpr std::size_t kMostFailures = 4'096;  // that nobody asked for yet

  std::optional<CallAnswer> again(const TrappedCall& call, const TrappedSocket& socket);
  CallAnswer begin(const TrappedCall& call, TrappedSocket socket, const Endpoint& destination);
  Task<> begin_early(Captured captured);
  [[nodiscard]] Tick due_of(const TrappedSocket& socket) const;
  Task<> expire(std::uint64_t cookie, std::uint64_t id, Tick due);
  Task<> outlast(UniqueFd socket, std::uint64_t id, Tick due);

  CallContext& context_;
  Parking parking_;
  bool early_;
  std::unordered_map<std::uint64_t, Parked*> parked_;  // by cookie
  LruMap<std::uint64_t, Endpoint> peers_{kMostPeers};
  LruMap<std::uint64_t, int> failures_{kMostFailures};
};

}  // namespace shunt
