// SPDX-License-Identifier: GPL-2.0-only
// The tracer of a process and of all that comes of it (ptrace(2), PTRACE_SEIZE). It stops nobody
// but in the calls that a filter traps, and lets everything else that a tracer is told of take its
// course: new threads and processes, execve(), signals, and stops of the whole process.
//
// A call that waits for its answer is one of a stopped thread, which no signal wakes. So the tracer
// looks at the signals that such a thread has, and when there is one the call is taken back: the
// thread goes on with a call that was interrupted, gets its signal, and makes the call once more or
// not, as the kernel has it: never where its socket has a timeout (SO_RCVTIMEO, signal(7)). Signals
// that the program ignores wait with it: without a tracer they would not be sent.
//
//   PTRACE_EVENT_SECCOMP -> skip_call(), hand_in()
//     an answer          -> set_result() or do_call(), PTRACE_CONT
//     a signal           -> PTRACE_INTERRUPT, PTRACE_CONT -> PTRACE_EVENT_STOP -> interrupt_call()
//
// As the call is set to be skipped from the beginning, a tracer that dies leaves a thread whose
// call fails with ENOSYS, and so do all later calls (seccomp(2), SECCOMP_RET_TRACE). Only one that
// is killed in the microseconds between a thread's stop and the skip lets the kernel do the call.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <unordered_map>

#include "base/result.h"
#include "kernel/call_desk.h"
#include "net/unique_fd.h"

namespace shunt {

/// Of the filter's SECCOMP_RET_TRACE, to tell it from a filter of the program's own.
inline constexpr std::uint16_t kTraceCookie = 0x5348;

/// On one thread, from seize() on. SIGCHLD must be blocked in all threads of this process, and be
/// nobody else's.
class TracedThreads {
 public:
  explicit TracedThreads(CallDesk& desk) : desk_(desk) {}

  Result<void> seize(pid_t process);
  /// Until nobody is traced any more, or the desk was stopped. When the calling thread ends, who is
  /// traced still goes on without a tracer.
  void run();

 private:
  struct Held {
    TrappedCall call;
    bool taken_back = false;  ///< goes on, but has not stopped for that yet
  };

  bool collect();
  void handle(pid_t thread, int status);
  void hold(pid_t thread);
  void executed(pid_t thread);
  void forget(pid_t thread);
  void give(const DeskAnswer& answer);
  void take_back(pid_t thread, Held& held);
  void finish_taking_back(pid_t thread);
  void take_back_process(pid_t thread);
  void look_for_signals();
  [[nodiscard]] int until_next_look_ms() const;

  CallDesk& desk_;
  UniqueFd changes_;  // a signalfd of SIGCHLD
  std::unordered_map<pid_t, Held> held_;
  std::chrono::steady_clock::time_point look_at_;
};

}  // namespace shunt
