// SPDX-License-Identifier: GPL-2.0-only
#include "capture/preload_probe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <preload.abi.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <string>
#include <utility>

#include "base/error_numbers.h"
#include "capture/preload_request.h"
#include "capture/preload_target.h"
#include "net/fd_passing.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

constexpr int kSaysWithinMs = 3'000;
constexpr char kShell[] = "/bin/sh";
constexpr PreloadToken kToken{};  // nothing is given away

[[noreturn]] void execute(const std::string& library, const std::string& variable) {
  std::string preload = "LD_PRELOAD=" + library;
  std::string told = fmt::format("{}={}", SHUNT_PRELOAD_VARIABLE, variable);
  char command[] = "-c";
  char nothing[] = ":";
  char name[] = "sh";
  char* const arguments[] = {name, command, nothing, nullptr};
  char* const environment[] = {preload.data(), told.data(), nullptr};
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  }
  ::execve(kShell, arguments, environment);
  ::_exit(127);
}

Failure not_loaded(std::string_view why) {
  return Failure(
      make_error(Kind::unsupported, error_number::kNoPreloadLibrary,
                 fmt::format("{} does not load {}: {}", kShell, SHUNT_PRELOAD_LIBRARY, why),
                 fmt::format("LD_PRELOAD=…/{} {} -c :", SHUNT_PRELOAD_LIBRARY, kShell)));
}

/// The kernel chooses the name: five hexadecimal digits (unix(7), autobind).
Result<std::string> bind_somewhere(int fd) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address.sun_family) != 0 ||
      ::listen(fd, 1) != 0) {
    return Failure(errno_error("listen to the library"));
  }
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return Failure(errno_error("getsockname"));
  }
  return std::string(address.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1);
}

Result<void> await_hello(int listener) {
  pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kSaysWithinMs) <= 0) return not_loaded("it says nothing");
  const UniqueFd connection(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.valid()) return Failure(errno_error("accept"));
  const auto record = SHUNT_TRY(receive_record(connection.get()));
  const auto request = parse_preload_request(record.bytes);
  if (request && request->kind == SHUNT_PRELOAD_HELLO) return {};
  return not_loaded("the library is of another build");
}

}  // namespace

Result<void> probe_preload() {
  const std::string library = SHUNT_TRY(find_preload_library());
  SHUNT_CHECK(check_preload_target(kShell));
  const UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return Failure(errno_error("socket(AF_UNIX)"));
  const std::string name = SHUNT_TRY(bind_somewhere(listener.get()));
  const std::string variable =
      fmt::format("{}:{}:{}:0", static_cast<int>(SHUNT_PRELOAD_VERSION), name, token_text(kToken));
  const pid_t child = ::fork();
  if (child < 0) return Failure(errno_error("fork"));
  if (child == 0) execute(library, variable);
  const auto said = await_hello(listener.get());
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return said;
}

}  // namespace shunt
