// SPDX-License-Identifier: GPL-2.0-only
// System calls of other programs that wait for this process to answer them: seccomp user
// notification (seccomp_unotify(2), Linux 5.9). No privilege is needed: a process sets the filter
// on itself, hands the listener over, and executes the program; its children inherit the filter,
// and no exec takes it away.
//
//   the program: connect(…)  ->  kernel: the thread waits  ->  receive() here
//                                the thread goes on        <-  finish(), fail() or let_run()
//
// Trapped are the calls by which datagrams and connections get a destination, and those that would
// show what became of it: connect, sendmsg, sendmmsg, sendto with an address or with MSG_FASTOPEN,
// recvmsg, recvmmsg, recvfrom that asks for the source, getpeername, and getsockopt of SO_ERROR.
// What the kernel refuses by itself:
//   io_uring_setup                       ENOSYS: its requests pass by every filter
//   socket(…, IPPROTO_MPTCP)             EPROTONOSUPPORT: programs then take TCP
//   the same calls of 32-bit programs    EPERM: their arguments look otherwise
//
// When the last copy of the listener is closed, as when this process dies, trapped calls fail with
// ENOSYS, those that wait too.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt {

struct TrappedCall {
  std::uint64_t id = 0;
  pid_t thread = 0;  ///< as this process's pid namespace numbers it
  int number = 0;    ///< __NR_…
  std::array<std::uint64_t, 6> arguments{};
};

/// The listener. Its calls may be used from any thread.
class CallTrap {
 public:
  CallTrap() = default;
  explicit CallTrap(UniqueFd listener) : listener_(std::move(listener)) {}

  /// Readable while calls wait to be received.
  [[nodiscard]] int fd() const { return listener_.get(); }
  /// The next one, or nothing. Does not block, provided that one thread receives.
  [[nodiscard]] std::optional<TrappedCall> receive() const;
  /// Whether the call waits still: its thread was not killed, nor called away by a signal. To be
  /// asked after something was read by the thread's number, and before it is acted on: the number
  /// may have gone to another process.
  [[nodiscard]] bool waits(std::uint64_t id) const;
  /// These end the wait; false when nobody waits any more.
  bool finish(std::uint64_t id, std::int64_t value) const;
  bool fail(std::uint64_t id, int os_error) const;
  /// The kernel does the call, with what the arguments and the program's memory hold then.
  bool let_run(std::uint64_t id) const;
  /// No process is left that has the filter.
  [[nodiscard]] bool abandoned() const;

 private:
  UniqueFd listener_;
};

/// Sets the filter on the calling thread, for good, and yields the listener. Without CAP_SYS_ADMIN
/// it sets no_new_privs first, so that setuid programs give no privilege any more. Fails with EBUSY
/// where a listener is set already: a thread can have one.
Result<UniqueFd> trap_network_calls();

/// Traps a call of a child and answers it, and looks into the child as a supervisor has to. The
/// Error says what is missing. Forks.
Result<void> probe_call_trap();

}  // namespace shunt
