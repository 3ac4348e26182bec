// SPDX-License-Identifier: GPL-2.0-only
#include "capture/resolver_sockets.h"

#include <fmt/format.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "kernel/directory.h"

namespace shunt {
namespace {

bool has_socket(pid_t process, std::uint32_t inode) {
  const std::string wanted = fmt::format("socket:[{}]", inode);
  Directory fds(fmt::format("/proc/{}/fd", process));
  while (const char* name = fds.next()) {
    std::array<char, 64> link{};
    const auto size = ::readlinkat(fds.fd(), name, link.data(), link.size());
    if (size > 0 && std::string_view(link.data(), static_cast<std::size_t>(size)) == wanted) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<ResolverSockets> ResolverSockets::create() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
  if (!fd.valid()) return Failure(errno_error("socket(NETLINK_SOCK_DIAG)"));
  return ResolverSockets(std::move(fd));
}

void ResolverSockets::will_ask(pid_t process) {
  std::erase(asking_, process);
  asking_.push_front(process);
  if (asking_.size() > kMostAsking) asking_.pop_back();
}

std::optional<pid_t> ResolverSockets::owner(Protocol protocol, const Endpoint& local,
                                            const Endpoint& remote) {
  if (asking_.empty()) return std::nullopt;
  const auto socket = diag_.find(protocol, local, remote);
  if (!socket) return std::nullopt;
  const auto found = std::ranges::find_if(
      asking_, [&](pid_t process) { return has_socket(process, socket->inode); });
  return found == asking_.end() ? std::nullopt : std::optional(*found);
}

}  // namespace shunt
