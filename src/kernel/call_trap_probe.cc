// SPDX-License-Identifier: GPL-2.0-only
// probe_call_trap(): what a supervisor does, once.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/error_numbers.h"
#include "kernel/call_trap.h"
#include "kernel/foreign_process.h"
#include "kernel/trap_filter.h"
#include "net/fd_passing.h"

namespace shunt {
namespace {

constexpr int kAnswerWithinMs = 5000;  // a loaded machine; it takes well under a millisecond
constexpr int kProbeAnswer = EHOSTUNREACH;
constexpr std::uint16_t kProbePort = 1;

/// Its listener's number, or minus the errno, goes through the pipe; then it makes a call. Exits
/// with 0 if the answer was the one that the parent gives.
[[noreturn]] void make_a_call(int report) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto listener = trap_network_calls();
  const int number = listener ? listener->get() : -listener.error().os_error;
  if (::write(report, &number, sizeof number) != sizeof number || !listener) ::_exit(2);
  sockaddr_in nowhere{};
  nowhere.sin_family = AF_INET;
  nowhere.sin_port = htons(kProbePort);
  nowhere.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int done = ::connect(socket, reinterpret_cast<sockaddr*>(&nowhere), sizeof nowhere);
  ::_exit(done != 0 && errno == kProbeAnswer ? 0 : 1);
}

Failure trouble(std::string_view what, int os_error) {
  Error error = errno_error(what, os_error);
  error.kind = Kind::unsupported;
  error.number = error_number::kNoCallTrap;
  if (os_error == EBUSY ||
      os_error == ECANCELED) {  // libseccomp's word for what the kernel refuses
    error.help = kOtherSupervisor;
  }
  return Failure(std::move(error));
}

Result<void> answer_it(pid_t child, int number) {
  ForeignProcesses processes;
  auto listener = processes.descriptor(child, number);
  if (!listener) return trouble("take a descriptor from a child (pidfd_getfd)", listener.error());
  const CallTrap trap(*std::move(listener));
  pollfd waiting{.fd = trap.fd(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kAnswerWithinMs) <= 0) return trouble("trap a system call", ETIMEDOUT);
  const auto call = trap.receive();
  if (!call || call->number != SYS_connect) return trouble("trap a system call", EPROTO);
  const auto asked = read_value<sockaddr_in>(call->thread, call->arguments[1]);
  if (!asked) return trouble("read a child's memory (process_vm_readv)", asked.error());
  if (ntohs(asked->sin_port) != kProbePort) return trouble("read a child's memory", EPROTO);
  if (!trap.fail(call->id, kProbeAnswer)) return trouble("answer a system call", errno);
  return {};
}

}  // namespace

Result<void> probe_call_trap() {
  SHUNT_CHECK(check_foreign_access());
  auto [ours, theirs] = SHUNT_TRY(make_record_channel());
  const pid_t child = ::fork();
  if (child < 0) return Failure(errno_error("fork"));
  if (child == 0) make_a_call(theirs.get());
  theirs.reset();
  int number = -EPROTO;
  const bool told = ::read(ours.get(), &number, sizeof number) == sizeof number;
  Result<void> result = told && number >= 0
                            ? answer_it(child, number)
                            : trouble("filter a child's system calls (seccomp)", -number);
  if (!result) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (result && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
    return trouble("answer a child's system call", EPROTO);
  }
  return result;
}

}  // namespace shunt
