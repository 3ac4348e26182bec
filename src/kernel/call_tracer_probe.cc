// SPDX-License-Identifier: GPL-2.0-only
// probe_call_tracer(): what a tracer does, once.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/error_numbers.h"
#include "kernel/call_tracer.h"
#include "kernel/foreign_process.h"
#include "kernel/traced_registers.h"
#include "net/fd_passing.h"

namespace shunt {
namespace {

constexpr int kAnswerWithinMs = 5000;  // a loaded machine; it takes well under a millisecond
constexpr int kProbeAnswer = EHOSTUNREACH;
constexpr std::uint16_t kProbePort = 1;

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
  sockaddr_in nowhere{};
  nowhere.sin_family = AF_INET;
  nowhere.sin_port = htons(kProbePort);
  nowhere.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int done = ::connect(socket, reinterpret_cast<sockaddr*>(&nowhere), sizeof nowhere);
  error = done == 0 ? 0 : errno;
  ::_exit(::write(parent, &error, sizeof error) == sizeof error ? 0 : 1);
}

Failure trouble(std::string_view what, int os_error) {
  Error error = errno_error(what, os_error);
  error.kind = Kind::unsupported;
  error.number = error_number::kNoCallTracer;
  return Failure(std::move(error));
}

Result<void> answer_it(const CallTracer& tracer) {
  pollfd waiting{.fd = tracer.fd(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kAnswerWithinMs) <= 0) return trouble("stop a system call", ETIMEDOUT);
  const auto call = tracer.receive();
  if (!call || call->number != SYS_connect) return trouble("stop a system call", EPROTO);
  const auto asked = read_value<sockaddr_in>(call->thread, call->arguments[1]);
  if (!asked) return trouble("read a child's memory (process_vm_readv)", asked.error());
  if (ntohs(asked->sin_port) != kProbePort) return trouble("read a child's memory", EPROTO);
  const auto copied =
      ForeignProcesses().descriptor(call->thread, static_cast<int>(call->arguments[0]));
  if (!copied) return trouble("take a descriptor from a child (pidfd_getfd)", copied.error());
  if (!tracer.fail(call->id, kProbeAnswer)) return trouble("answer a system call", ESRCH);
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
  auto [ours, theirs] = SHUNT_TRY(make_record_channel());
  const ChildSignalBlocked blocked;
  const pid_t child = ::fork();
  if (child < 0) return Failure(errno_error("fork"));
  if (child == 0) {
    ours.reset();
    make_a_call(theirs.get());
  }
  theirs.reset();
  const timeval patience{.tv_sec = kAnswerWithinMs / 1000, .tv_usec = 0};
  ::setsockopt(ours.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const UniqueFd alive(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  auto result = trace_it(child, ours.get());
  // The tracer may have waited for it already, as any thread of its parent may.
  ::syscall(SYS_pidfd_send_signal, alive.get(), SIGKILL, nullptr, 0);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return result;
}

}  // namespace shunt
