// SPDX-License-Identifier: GPL-2.0-only
// TCP connections of programs whose connect() is trapped. Each is a held flow (flow/admission.h):
// the program's own socket is parked (capture/parking.h), the flow is decided and dialled as any
// other, and then the result goes to the program:
//
//   blocking socket       its call returns then, with 0 or the true errno; a signal may call it
//                         away, and the call is made once more or the program polls
//   non-blocking socket   EINPROGRESS at once; then it is writable, SO_ERROR says 0 or the errno
//
// The socket stays the program's, with its options and what it bound it to. What the program cannot
// see any more is remembered: its peer, and by the socket's cookie what a connect() or SO_ERROR is
// still to say. An answer may be lost to a signal: what it said is owed until one has arrived. The
// kernel does not always say that one has not, so where the same thread asks the same again at once
// it is told the same. A program that reads instead of asking gets ECONNRESET.
//
// While it is parked the socket is watched: the kernel may give up, another thread may shut it down
// or disconnect it. Then the kernel's word counts, and the flow is nobody's any more. What a rule
// drops, and what shunt has waited for long enough, is left parked: the kernel gives up when it
// would have given up anyhow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/lru_map.h"
#include "capture/call_limits.h"
#include "capture/parking.h"
#include "capture/pending_connect.h"
#include "capture/trapped_socket.h"
#include "kernel/process_facts.h"
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
  /// With CallContext::closing set: nothing is watched any more.
  void close();

  /// Whether there may be one.
  [[nodiscard]] bool has_failures() const;
  /// The errno that SO_ERROR is to say to `thread`.
  std::optional<int> failure_of(const TrappedSocket& socket, pid_t thread);
  /// SO_ERROR has said it.
  void forget_failure(const TrappedSocket& socket, pid_t thread);

  [[nodiscard]] bool has_peers() const { return !peers_.empty(); }
  [[nodiscard]] bool is_place(const Endpoint& endpoint) const {
    return parking_.is_place(endpoint);
  }
  /// Where a socket of this address went that is connected to this parking place; nothing: it is
  /// not known.
  std::optional<Endpoint> peer_of(const Endpoint& client, const Endpoint& place);

 private:
  class Parked;

  /// The two ends of a connection that is parked: no two that live have the same.
  struct Ends {
    Endpoint client;
    Endpoint place;
    bool operator==(const Ends&) const = default;
  };
  struct EndsHash {
    std::size_t operator()(const Ends& ends) const {
      return EndpointHash{}(ends.client) * 31 + EndpointHash{}(ends.place);
    }
  };
  struct Pending {
    PendingConnect connect;
    Slot* slot = nullptr;      ///< null: not watched
    Parked* parked = nullptr;  ///< null: its outcome is the kernel's alone
    bool has_room = false;     ///< taken for it alone
    bool over = false;
    std::optional<Tick> away_until = {};  ///< nobody waits; nothing: as far as is known
  };

  std::optional<CallAnswer> again(const TrappedCall& call, const TrappedSocket& socket);
  CallAnswer begin(const TrappedCall& call, TrappedSocket socket, const Ends& ends,
                   const Endpoint& destination, CallingProcess caller);
  [[nodiscard]] Task<> begin_early(Captured captured) const;
  void start(Captured captured);
  CallAnswer await_kernel(const TrappedCall& call, TrappedSocket socket);

  std::shared_ptr<Pending> watch(PendingConnect connect);
  Task<> follow(std::shared_ptr<Pending> pending);
  [[nodiscard]] std::uint32_t look_again_ms(const Pending& pending) const;
  [[nodiscard]] bool is_left(Pending& pending) const;
  bool settle(Pending& pending);
  void conclude(PendingConnect& connect);
  void leave(Pending& pending);
  void wake(Pending& pending) const;

  CallAnswer tell(const TrappedCall& call, std::uint64_t cookie, int os_error);
  void note_told(std::uint64_t cookie, pid_t thread, int os_error);
  std::optional<int> told(std::uint64_t cookie, pid_t thread);
  void owe(std::uint64_t cookie, int os_error);
  std::optional<int> take_owed(std::uint64_t cookie);
  [[nodiscard]] Tick due_of(const TrappedSocket& socket) const;

  CallContext& context_;
  Parking parking_;
  bool early_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Pending>> pending_;  // by cookie
  // An entry is used anew when its ends are: that is when the socket that it was of is gone.
  LruMap<Ends, Endpoint, EndsHash> peers_{limits::kConnectPeers};
  /// What a thread was told of a socket, which it may not have heard.
  struct Told {
    pid_t thread = 0;
    int os_error = 0;
    Tick until = 0;
  };

  LruMap<std::uint64_t, Told> told_{limits::kConnectsTold};  // by cookie
  Tick failure_told_until_ = 0;
  // By cookie; 0 and EINPROGRESS: of connect() alone.
  LruMap<std::uint64_t, int> owed_{limits::kConnectsOwed};
};

}  // namespace shunt
