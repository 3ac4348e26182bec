// SPDX-License-Identifier: GPL-2.0-only
// Trapped calls that come once more. A signal calls a thread away from a call that waits for its
// answer, without a word to whoever answers. The kernel then makes the same call again
// (SA_RESTART, signal(7)), as do programs that got EINTR. A thread is in one call at a time, so its
// next call says that the last one waits no more:
//
//   the first is still waited for here   it goes on for the second, with its deadline: join()
//   the first was done in part           the same, unless it means something else: under_way()
//   the first was done, nobody heard it  the second has the result: keep(), take()
//
// The same call is one of the same thread, with the same number and arguments, on the same socket.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/lru_map.h"
#include "capture/call_limits.h"
#include "flow/flow.h"
#include "kernel/call_trap.h"
#include "kernel/waiting_calls.h"
#include "net/event_loop.h"

namespace shunt {

/// On the worker's thread. `cookie` is a socket's (SO_COOKIE).
class RepeatedCalls {
 public:
  explicit RepeatedCalls(const WaitingCalls& calls) : calls_(calls) {}
  RepeatedCalls(const RepeatedCalls&) = delete;
  RepeatedCalls& operator=(const RepeatedCalls&) = delete;

  /// What was done in a call.
  struct Done {
    std::int64_t value = 0;    ///< of the call
    std::uint64_t digest = 0;  ///< of what the program had in its memory, if that counts
  };

  /// A call that waits for something; in the frame of the task that answers it, from before its
  /// first suspension to its end. The thread's earlier one is over then.
  class Wait {
   public:
    Wait(RepeatedCalls& calls, EventLoop& loop, const TrappedCall& call, std::uint64_t cookie);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

    /// The one to answer: another id after each join().
    [[nodiscard]] const TrappedCall& call() const { return call_; }
    /// Nobody wants the answer any more: the thread is in another call, or was called away more
    /// than limits::kCallAwayMs ago. To be asked after each suspension.
    bool is_over();
    /// The task suspends on this slot. It is woken with Wake::cancelled when it is over, and when
    /// the call has come once more, for which it has to try again: an event may have been used up
    /// while nobody waited. Null: on a timer of its own.
    void wakes(Slot* slot) { slot_ = slot; }
    /// So much of it was done by now, and goes on from there.
    void note(const Done& done) { done_ = done; }

   private:
    friend class RepeatedCalls;
    void wake() const;

    RepeatedCalls& calls_;
    EventLoop& loop_;
    TrappedCall call_;
    std::uint64_t cookie_;
    Slot* slot_ = nullptr;
    Done done_;
    bool replaced_ = false;
    std::optional<std::uint64_t> away_;  // the id that was seen not to wait
    Tick away_until_ = 0;
  };

  /// Whether `call` is one that waits already, which then goes on for it. To be asked of every call
  /// that may have to wait, before it is begun.
  bool join(const TrappedCall& call, std::uint64_t cookie);
  /// What was done of the one that it would join; nothing: there is none.
  [[nodiscard]] std::optional<Done> under_way(const TrappedCall& call, std::uint64_t cookie) const;
  /// Calls that are waited for.
  [[nodiscard]] std::size_t waits() const { return waits_.size(); }

  /// For a thread that was called away before it could be told.
  void keep(const TrappedCall& call, std::uint64_t cookie, const Done& done);
  /// Yields it once, for limits::kCallRepeatMs.
  std::optional<Done> take(const TrappedCall& call, std::uint64_t cookie);

 private:
  struct Kept {
    TrappedCall call;
    std::uint64_t cookie = 0;
    Done done;
    Clock::time_point until;
  };

  [[nodiscard]] Wait* left(const TrappedCall& call, std::uint64_t cookie) const;

  const WaitingCalls& calls_;
  std::unordered_map<pid_t, Wait*> waits_;  // by thread
  LruMap<pid_t, Kept> done_{limits::kCallsRepeated};
};

}  // namespace shunt
