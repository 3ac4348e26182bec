// SPDX-License-Identifier: GPL-2.0-only
// probe_call_tracer(): what a tracer does, once.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>

#include "base/error_numbers.h"
#include "kernel/call_probe.h"
#include "kernel/call_tracer.h"
#include "kernel/foreign_process.h"
#include "kernel/traced_registers.h"

namespace shunt {
namespace {

/// Waits to be traced, says by 0 or an errno whether it could set its filter, makes a call, and
/// says what came of it.
[[noreturn]] void make_a_call(int parent) {
  allow_tracing(::getppid());
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  char traced = 0;
  if (socket < 0) ::_exit(1);
  if (::write(parent, &traced, 1) != 1 || ::read(parent, &traced, 1) != 1) ::_exit(1);
  const auto filtered = trace_network_calls();
  int error = filtered ? 0 : filtered.error().os_error;
  if (::write(parent, &error, sizeof error) != sizeof error || !filtered) ::_exit(1);
  error = make_probe_call(socket);
  ::_exit(::write(parent, &error, sizeof error) == sizeof error ? 0 : 1);
}

Failure trouble(std::string_view what, int os_error) {
  return probe_trouble(what, os_error, error_number::kNoCallTracer);
}

Result<void> answer_it(const CallTracer& tracer) {
  const auto call =
      SHUNT_TRY(receive_probe_call(tracer, "stop a system call", error_number::kNoCallTracer));
  const auto copied =
      ForeignProcesses().descriptor(call.thread, static_cast<int>(call.arguments[0]));
  if (!copied) return trouble("take a descriptor from a child (pidfd_getfd)", copied.error());
  if (!tracer.fail(call.id, kProbeAnswer)) return trouble("answer a system call", ESRCH);
  return {};
}

/// The child's next word; an errno.
int read_word(int channel) {
  int word = 0;
  const ssize_t got = ::read(channel, &word, sizeof word);
  if (got < 0) return errno;
  return got == sizeof word ? word : EPROTO;
}

Result<void> trace_it(pid_t child, int channel) {
  auto tracer = SHUNT_TRY(CallTracer::create());
  char letter = 0;
  if (::read(channel, &letter, 1) != 1) return trouble("start a child", EPROTO);
  SHUNT_CHECK(tracer->take_over(child, -1));
  if (::write(channel, &letter, 1) != 1) return trouble("start a child", errno);
  if (const int error = read_word(channel); error != 0) {
    return trouble("filter a child's system calls (seccomp)", error);
  }
  SHUNT_CHECK(answer_it(*tracer));
  if (read_word(channel) != kProbeAnswer) return trouble("answer a system call", EPROTO);
  return {};
}

/// With SIGCHLD blocked and not ignored, as a tracer wants it (an ignored one is not sent), and as
/// it was when this goes.
class ChildSignalBlocked {
 public:
  ChildSignalBlocked() {
    struct sigaction by_default{};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &by_default, &action_before_);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGCHLD);
    ::pthread_sigmask(SIG_BLOCK, &one, &before_);
  }
  ~ChildSignalBlocked() {
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    ::sigaction(SIGCHLD, &action_before_, nullptr);
  }
  ChildSignalBlocked(const ChildSignalBlocked&) = delete;
  ChildSignalBlocked& operator=(const ChildSignalBlocked&) = delete;

 private:
  sigset_t before_{};
  struct sigaction action_before_{};
};

}  // namespace

Result<void> probe_call_tracer() {
  if (!kKnowsRegisters) return trouble("trace system calls of this machine", ENOSYS);
  const ChildSignalBlocked blocked;
  const ProbeChild child = SHUNT_TRY(start_probe_child(make_a_call));
  const UniqueFd alive(static_cast<int>(::syscall(SYS_pidfd_open, child.pid, 0)));
  auto result = trace_it(child.pid, child.channel.get());
  // The tracer may have waited for it already, as any thread of its parent may.
  ::syscall(SYS_pidfd_send_signal, alive.get(), SIGKILL, nullptr, 0);
  while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return result;
}

}  // namespace shunt
