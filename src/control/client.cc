// SPDX-License-Identifier: GPL-2.0-only
#include "control/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "control/socket_path.h"
#include "net/unique_fd.h"

namespace shunt::control {
namespace {

Error unreachable(const std::string& path, int os_error) {
  Error error =
      make_error(Kind::unreachable, fmt::format("the shunt behind {} does not answer", path));
  error.os_error = os_error == EAGAIN ? ETIMEDOUT : os_error;
  return error;
}

}  // namespace

Result<Answer> ask(const std::string& path, std::string_view request, int timeout_ms) {
  const auto address = SHUNT_TRY(SocketPath::create(path));
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Failure(errno_error("socket(AF_UNIX)"));
  const timeval timeout{.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  const std::string line = fmt::format("{}\n", request);
  if (::connect(fd.get(), address.get(), SocketPath::size()) != 0 ||
      ::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) {
    return Failure(unreachable(path, errno));
  }
  std::string received;
  char buffer[4096];
  while (received.size() <= kAnswerBytes) {
    const ssize_t count = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failure(unreachable(path, errno));
    if (count == 0) break;
    received.append(buffer, static_cast<std::size_t>(count));
  }
  auto answer = decode(received);
  if (!answer) return Failure(unreachable(path, 0));
  return *std::move(answer);
}

}  // namespace shunt::control
