// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "capture/trapped_socket.h"
#include "kernel/waiting_calls.h"
#include "net/shared_fd.h"
#include "net/timer_wheel.h"

namespace shunt {

/// A TCP socket of a program's whose connect() has no result yet, and the calls that wait for it:
/// at most one of each thread. On one thread.
class PendingConnect {
 public:
  PendingConnect(const WaitingCalls& calls, TrappedSocket socket);

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] Family family() const { return family_; }
  [[nodiscard]] std::uint64_t cookie() const { return cookie_; }

  /// This call waits for the result, until `due` at most. Where it is a thread's last one once
  /// more, after a signal, the time goes on that it had.
  void add(std::uint64_t call, pid_t thread, Tick due);
  /// The program was told that it is under way.
  void know_in_progress() { in_progress_known_ = true; }

  /// Whether anybody came for the result, who may have been called away since.
  [[nodiscard]] bool expected() const { return !callers_.empty(); }
  /// Whether anybody waits for it now, as the kernel has it.
  [[nodiscard]] bool awaited() const;
  /// When the first caller's time is over; kNever.
  [[nodiscard]] Tick due() const;
  /// Answers those whose time is over: EINPROGRESS, or EALREADY where the program knows that.
  void expire(Tick now);
  /// Answers all with 0 or an errno. Yields a thread that was told; nothing: nobody was there.
  std::optional<pid_t> answer(int os_error);

 private:
  struct Caller {
    std::uint64_t call = 0;
    pid_t thread = 0;
    Tick due = TimerWheel::kNever;
    bool untold = false;  ///< its time was over just as a signal came: told when it calls again
  };

  const WaitingCalls& calls_;
  Family family_;
  std::uint64_t cookie_;
  SharedFd socket_;
  bool in_progress_known_ = false;
  std::vector<Caller> callers_;
};

}  // namespace shunt
