// SPDX-License-Identifier: GPL-2.0-only
#include "net/socket_state.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <optional>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71  // asm-generic/socket.h, Linux 5.14
#endif

namespace shunt {
namespace {

std::optional<int> tcp_state(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  return info.tcpi_state;
}

}  // namespace

int connect_without_waiting(int fd, const SocketAddress& address) {
  const int flags = ::fcntl(fd, F_GETFL);
  const bool blocking = flags >= 0 && (flags & O_NONBLOCK) == 0;
  if (blocking) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  const int error = ::connect(fd, address.get(), address.size()) == 0 ? 0 : errno;
  if (blocking) ::fcntl(fd, F_SETFL, flags);
  return error;
}

int disconnect(int fd) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  return ::connect(fd, &none, sizeof none) == 0 ? 0 : errno;
}

bool is_bound_to_device(int fd) {
  std::array<char, IF_NAMESIZE> name{};
  socklen_t size = name.size();
  return ::getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.data(), &size) == 0 && size > 0;
}

bool is_v6_only(int fd) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &size) == 0 && value != 0;
}

bool clear_v6_only(int fd) {
  const int off = 0;
  return ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
}

bool is_connected(int fd) {
  const auto state = tcp_state(fd);
  if (!state) return false;
  switch (*state) {
    case TCP_SYN_SENT:
    case TCP_SYN_RECV:
    case TCP_LISTEN:
    case TCP_CLOSE: return false;
    default: return true;
  }
}

bool is_connecting(int fd) {
  const auto state = tcp_state(fd);
  return state == TCP_SYN_SENT || state == TCP_SYN_RECV;
}

std::uint64_t network_of(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return ::getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace shunt
