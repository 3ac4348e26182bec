// SPDX-License-Identifier: GPL-2.0-only
#include "capture/routed_probe.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "base/error_record.h"
#include "capture/routed_sockets.h"
#include "kernel/call_trap.h"
#include "net/fd_passing.h"

namespace shunt {
namespace {

constexpr int kAnswerWithinMs = 5000;  // a loaded machine; it takes well under a millisecond
constexpr std::string_view kLoopback = "lo";
constexpr char kListener = 'l';
constexpr char kRefused = 'e';

/// Exits with 0 if the socket is bound to the interface, else with an errno.
[[noreturn]] void ask_for_a_socket(int channel) {
  const auto listener = trap_socket_calls(true);
  if (!listener) {
    (void)send_record(channel, kRefused + error_record(listener.error()));
    ::_exit(EPROTO);
  }
  const std::array fds{listener->get()};
  if (!send_record(channel, {&kListener, 1}, fds)) ::_exit(EPROTO);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) ::_exit(errno);
  std::array<char, 16> name{};
  socklen_t size = name.size();
  const bool bound = ::getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.data(), &size) == 0 &&
                     std::string_view(name.data()) == kLoopback;
  ::_exit(bound ? 0 : EPROTO);
}

Failure trouble(std::string_view what, int os_error) {
  Error error = errno_error(what, os_error);
  error.kind = Kind::unsupported;
  error.number = error_number::kNoCallTrap;
  return Failure(std::move(error));
}

Result<void> answer_it(int channel) {
  auto record = SHUNT_TRY(receive_record(channel));
  if (record.bytes.starts_with(kRefused)) {
    return Failure(error_from_record(record.bytes.substr(1)));
  }
  if (record.fds.empty()) return trouble("filter a child's system calls (seccomp)", EPROTO);
  RoutedSockets sockets(CallTrap(std::move(record.fds.front())),
                        {.interface = std::string(kLoopback)});
  pollfd waiting{.fd = sockets.fd(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kAnswerWithinMs) <= 0) return trouble("trap a system call", ETIMEDOUT);
  sockets.answer();
  return {};
}

int ended_with(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EPROTO;
}

}  // namespace

Result<void> probe_routed_sockets() {
  auto [ours, theirs] = SHUNT_TRY(make_record_channel());
  const pid_t child = ::fork();
  if (child < 0) return Failure(errno_error("fork"));
  if (child == 0) ask_for_a_socket(theirs.get());
  theirs.reset();
  auto result = answer_it(ours.get());
  if (!result) ::kill(child, SIGKILL);
  const int code = ended_with(child);
  if (result && code != 0)
    return trouble("make a socket for a child (SECCOMP_IOCTL_NOTIF_ADDFD)", code);
  return result;
}

}  // namespace shunt
