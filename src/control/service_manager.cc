// SPDX-License-Identifier: GPL-2.0-only
#include "control/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "net/unique_fd.h"

namespace shunt {
namespace {

Error notify_error(std::string_view path, int os_error) {
  return errno_error(fmt::format("telling the service manager at {}", path), os_error);
}

/// A status is one line: a second one would be a message of its own.
std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& letter : line) {
    if (letter == '\n') letter = ' ';
  }
  return line;
}

}  // namespace

Result<void> notify_service_manager(std::string_view message) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of shunt sets it
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return {};
  const std::string_view name(path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() >= sizeof address.sun_path || (name[0] != '/' && name[0] != '@')) {
    return Failure(notify_error(name, EINVAL));
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';  // the abstract namespace
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return Failure(notify_error(name, errno));
  if (::sendto(fd.get(), message.data(), message.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    return Failure(notify_error(name, errno));
  }
  return {};
}

Result<void> notify_ready(std::string_view status) {
  return notify_service_manager(fmt::format("READY=1\nSTATUS={}\n", one_line(status)));
}

Result<void> notify_reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t microseconds = std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  return notify_service_manager(fmt::format("RELOADING=1\nMONOTONIC_USEC={}\n", microseconds));
}

Result<void> notify_stopping() { return notify_service_manager("STOPPING=1\n"); }

}  // namespace shunt
