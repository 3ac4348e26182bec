// SPDX-License-Identifier: GPL-2.0-only
// probe_call_trap(): what a supervisor does, once.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/call_probe.h"
#include "kernel/call_trap.h"
#include "kernel/foreign_process.h"
#include "kernel/trap_filter.h"

namespace shunt {
namespace {

/// Its listener's number, or minus the errno, goes through the channel; then it makes a call. Exits
/// with 0 if the answer was the one that the parent gives.
[[noreturn]] void make_a_call(int report) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto listener = trap_network_calls();
  const int number = listener ? listener->get() : -listener.error().os_error;
  if (::write(report, &number, sizeof number) != sizeof number || !listener) ::_exit(2);
  ::_exit(make_probe_call(socket) == kProbeAnswer ? 0 : 1);
}

Failure trouble(std::string_view what, int os_error) {
  Failure failure = probe_trouble(what, os_error, error_number::kNoCallTrap);
  if (os_error == EBUSY ||
      os_error == ECANCELED) {  // libseccomp's word for what the kernel refuses
    failure.error().help = kOtherSupervisor;
  }
  return failure;
}

Result<void> answer_it(pid_t child, int number) {
  ForeignProcesses processes;
  auto listener = processes.descriptor(child, number);
  if (!listener) return trouble("take a descriptor from a child (pidfd_getfd)", listener.error());
  const CallTrap trap(*std::move(listener));
  const auto call =
      SHUNT_TRY(receive_probe_call(trap, "trap a system call", error_number::kNoCallTrap));
  if (!trap.fail(call.id, kProbeAnswer)) return trouble("answer a system call", errno);
  return {};
}

}  // namespace

Result<void> probe_call_trap() {
  SHUNT_CHECK(check_foreign_access("shunt run --method ptrace …"));
  const ProbeChild child = SHUNT_TRY(start_probe_child(make_a_call));
  int number = -EPROTO;
  const bool told = ::read(child.channel.get(), &number, sizeof number) == sizeof number;
  Result<void> result = told && number >= 0
                            ? answer_it(child.pid, number)
                            : trouble("filter a child's system calls (seccomp)", -number);
  if (!result) ::kill(child.pid, SIGKILL);
  int status = 0;
  while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (result && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
    return trouble("answer a child's system call", EPROTO);
  }
  return result;
}

}  // namespace shunt
