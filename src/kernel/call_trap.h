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
//   socket() of SCTP and DCCP            EPROTONOSUPPORT
//   socket() of SMC, RDS, RxRPC, TIPC    EAFNOSUPPORT; all of them may travel by IP
//   the same calls of 32-bit programs    EPERM: their arguments look otherwise
//
// When the last copy of the listener is closed, as when this process dies, trapped calls fail with
// ENOSYS, those that wait too.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "kernel/call_source.h"
#include "net/unique_fd.h"

namespace shunt {

/// The listener. Its calls may be used from any thread.
class CallTrap final : public CallSource {
 public:
  CallTrap() = default;
  explicit CallTrap(UniqueFd listener) : listener_(std::move(listener)) {}

  /// Copies the listener, which `process` has.
  Result<void> take_over(pid_t process, int listener) override;
  [[nodiscard]] int fd() const override { return listener_.get(); }
  /// Does not block, provided that one thread receives.
  [[nodiscard]] std::optional<TrappedCall> receive() const override;
  /// To be asked after something was read by the thread's number, and before it is acted on: the
  /// number may have gone to another process. True says that it had not until now.
  [[nodiscard]] bool waits(std::uint64_t id) const override;
  bool finish(std::uint64_t id, std::int64_t value) const override;
  bool fail(std::uint64_t id, int os_error) const override;
  /// The kernel does the call, with what the arguments and the program's memory hold then.
  bool let_run(std::uint64_t id) const override;
  /// Ends the wait with a copy of this process's `descriptor` in the program, whose number the call
  /// yields (Linux 5.14).
  bool hand_over(std::uint64_t id, int descriptor, bool close_on_exec) const;
  /// No process is left that has the filter.
  [[nodiscard]] bool abandoned() const override;

 private:
  UniqueFd listener_;
};

/// Sets the filter on the calling thread, for good, and yields the listener. Without CAP_SYS_ADMIN
/// it sets no_new_privs first, so that setuid programs give no privilege any more. Fails with EBUSY
/// where a listener is set already: a thread can have one.
Result<UniqueFd> trap_network_calls();

/// The same for the calls by which a program gets sockets of IPv4 and IPv6, and no others: socket
/// and, with `bind`, bind (of any socket). Those of 32-bit programs fail with EPERM, io_uring_setup
/// with ENOSYS.
Result<UniqueFd> trap_socket_calls(bool bind);

/// Traps a call of a child and answers it, and looks into the child as a supervisor has to. The
/// Error says what is missing. Forks.
Result<void> probe_call_trap();

}  // namespace shunt
