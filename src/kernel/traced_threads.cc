// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/traced_threads.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>

#include "base/error_numbers.h"
#include "kernel/foreign_process.h"
#include "kernel/process_facts.h"
#include "kernel/traced_registers.h"
#include "net/shared_fd.h"

namespace shunt {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long a signal may wait for a call to be taken back. Each look costs three system calls for
// each call that waits, and a few more while a signal is pending.
constexpr int kLookAgainMs = 50;

constexpr unsigned long kOptions = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE |
                                   PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;

void go_on(pid_t thread, int signal) { ::ptrace(PTRACE_CONT, thread, nullptr, signal); }

unsigned long event_message(pid_t thread) {
  unsigned long message = 0;
  return ::ptrace(PTRACE_GETEVENTMSG, thread, nullptr, &message) == 0 ? message : 0;
}

bool stops_a_process(int signal) {
  return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

bool of_one_process(pid_t a, pid_t b) {
  return a == b || ::access(fmt::format("/proc/{}/task/{}", a, b).c_str(), F_OK) == 0;
}

/// One of the signals that wait for the thread (`flags` 0) or its process is not in `but`.
bool any_of_them(pid_t thread, unsigned flags, std::uint64_t but) {
  std::array<siginfo_t, 16> found{};
  __ptrace_peeksiginfo_args from{.off = 0, .flags = flags, .nr = found.size()};
  while (true) {
    const long count = ::ptrace(PTRACE_PEEKSIGINFO, thread, &from, found.data());
    for (long i = 0; i < count; ++i) {
      const int signal = found[static_cast<std::size_t>(i)].si_signo;
      if ((but >> (signal - 1) & 1) == 0) return true;
    }
    if (count < static_cast<long>(found.size())) return false;
    from.off += static_cast<std::uint64_t>(count);
  }
}

bool any_of_them(pid_t thread, std::uint64_t but) {
  return any_of_them(thread, 0, but) || any_of_them(thread, PTRACE_PEEKSIGINFO_SHARED, but);
}

Error no_tracing(int os_error) {
  Error error = errno_error("trace a process (ptrace)", os_error);
  error.kind = Kind::unsupported;
  error.number = error_number::kNoCallTracer;
  if (os_error == EPERM) {
    error.help =
        "not under another tracer (strace, gdb), in a container that allows ptrace(), and with "
        "kernel.yama.ptrace_scope at most 1";
  }
  return error;
}

bool has_signal(pid_t thread) {
  std::uint64_t blocked = 0;
  if (::ptrace(PTRACE_GETSIGMASK, thread, sizeof blocked, &blocked) != 0) return false;
  if (!any_of_them(thread, blocked)) return false;
  return any_of_them(thread, blocked | ignored_signals(thread));
}

/// By which a call's wait at its socket ends; nothing: it does not wait.
std::optional<int> timeout_option(const TrappedCall& call) {
  int flags = 0;
  int option = SO_SNDTIMEO;
  switch (call.number) {
    case SYS_connect: break;
    case SYS_sendmsg: flags = static_cast<int>(call.arguments[2]); break;
    case SYS_sendto:
    case SYS_sendmmsg: flags = static_cast<int>(call.arguments[3]); break;
    case SYS_recvmsg:
      flags = static_cast<int>(call.arguments[2]);
      option = SO_RCVTIMEO;
      break;
    case SYS_recvfrom:
    case SYS_recvmmsg:
      flags = static_cast<int>(call.arguments[3]);
      option = SO_RCVTIMEO;
      break;
    default: return std::nullopt;
  }
  return (flags & MSG_DONTWAIT) == 0 ? std::optional(option) : std::nullopt;
}

/// A wait that has an end is not begun anew, whatever the handler's flags are: sock_intr_errno(),
/// include/net/sock.h.
bool may_restart(const TrappedCall& call) {
  const auto option = timeout_option(call);
  if (!option) return true;
  auto copy = ForeignProcesses().descriptor(call.thread, static_cast<int>(call.arguments[0]));
  if (!copy) return true;
  const SharedFd socket(*std::move(copy));
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) != 0) return true;
  timeval timeout{};
  socklen_t size = sizeof timeout;
  const int asked = ::getsockopt(socket.get(), SOL_SOCKET, *option, &timeout, &size);
  return asked != 0 || (timeout.tv_sec == 0 && timeout.tv_usec == 0);
}

}  // namespace

Result<void> TracedThreads::seize(pid_t process) {
  sigset_t changes;
  sigemptyset(&changes);
  sigaddset(&changes, SIGCHLD);
  changes_ = UniqueFd(::signalfd(-1, &changes, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!changes_.valid()) return Failure(errno_error("signalfd"));
  if (::ptrace(PTRACE_SEIZE, process, nullptr, kOptions) != 0) {
    return Failure(no_tracing(errno));
  }
  return {};
}

void TracedThreads::run() {
  while (collect() && !desk_.stopped()) {
    std::array<pollfd, 2> ready{{{.fd = changes_.get(), .events = POLLIN, .revents = 0},
                                 {.fd = desk_.answers_fd(), .events = POLLIN, .revents = 0}}};
    ::poll(ready.data(), ready.size(), until_next_look_ms());
    signalfd_siginfo ignored{};  // they come merged into one: collect() asks whose they are
    while (::read(changes_.get(), &ignored, sizeof ignored) > 0) {
    }
    for (const DeskAnswer& answer : desk_.take_answers()) give(answer);
    look_for_signals();
  }
  desk_.close();
}

/// False: nobody is left.
bool TracedThreads::collect() {
  while (true) {
    int status = 0;
    const pid_t thread = ::waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG);
    if (thread > 0) {
      handle(thread, status);
    } else if (thread == 0 || errno != EINTR) {
      return thread == 0;
    }
  }
}

void TracedThreads::handle(pid_t thread, int status) {
  if (!WIFSTOPPED(status)) return forget(thread);
  const int signal = WSTOPSIG(status);
  switch (status >> 16) {
    case PTRACE_EVENT_SECCOMP: return hold(thread);
    case PTRACE_EVENT_EXEC: executed(thread); return go_on(thread, 0);
    case PTRACE_EVENT_STOP:
      finish_taking_back(thread);
      if (!stops_a_process(signal)) return go_on(thread, 0);
      ::ptrace(PTRACE_LISTEN, thread, nullptr, nullptr);
      return take_back_process(thread);
    case 0: return go_on(thread, signal);  // which it now gets
    default: return go_on(thread, 0);      // it has a new child, which is traced
  }
}

void TracedThreads::hold(pid_t thread) {
  auto call = stopped_call(thread);
  if (!call) return;
  skip_call(thread);
  if (event_message(thread) != kTraceCookie) return go_on(thread, 0);
  if (held_.empty()) look_at_ = steady_clock::now() + milliseconds(kLookAgainMs);
  call->id = desk_.hand_in(*call);
  held_[thread] = {.call = *call};
}

/// All other threads of the process are gone, and this one has the process's number.
void TracedThreads::executed(pid_t thread) {
  forget(static_cast<pid_t>(event_message(thread)));
  forget(thread);
}

void TracedThreads::forget(pid_t thread) {
  const auto found = held_.find(thread);
  if (found == held_.end()) return;
  (void)desk_.withdraw(found->second.call.id);
  held_.erase(found);
}

void TracedThreads::give(const DeskAnswer& answer) {
  const auto found = held_.find(answer.thread);
  if (found == held_.end() || found->second.call.id != answer.id) return;
  if (answer.value) {
    set_result(answer.thread, *answer.value);
  } else {
    do_call(answer.thread, found->second.call.number);
  }
  held_.erase(found);
  go_on(answer.thread, 0);
}

void TracedThreads::take_back(pid_t thread, Held& held) {
  if (held.taken_back || !desk_.withdraw(held.call.id)) return;
  held.taken_back = true;
  // It stops again before it gets a signal or runs.
  ::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
  go_on(thread, 0);
}

void TracedThreads::finish_taking_back(pid_t thread) {
  const auto found = held_.find(thread);
  if (found == held_.end()) return;
  const TrappedCall& call = found->second.call;
  interrupt_call(thread, call.number, may_restart(call));
  held_.erase(found);
}

/// It is not stopped before all of its threads are.
void TracedThreads::take_back_process(pid_t thread) {
  for (auto& [other, held] : held_) {
    if (of_one_process(thread, other)) take_back(other, held);
  }
}

int TracedThreads::until_next_look_ms() const {
  if (held_.empty()) return -1;
  const auto left = std::chrono::ceil<milliseconds>(look_at_ - steady_clock::now());
  return static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, kLookAgainMs));
}

void TracedThreads::look_for_signals() {
  const auto now = steady_clock::now();
  if (held_.empty() || now < look_at_) return;
  look_at_ = now + milliseconds(kLookAgainMs);
  for (auto& [thread, held] : held_) {
    if (!held.taken_back && has_signal(thread)) take_back(thread, held);
  }
}

}  // namespace shunt
