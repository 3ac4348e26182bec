// SPDX-License-Identifier: GPL-2.0-only
#include "net/socket.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>

#include "base/limits.h"

namespace shunt {

Result<UniqueFd> make_socket(Family family, SocketType type) {
  const int domain = family == Family::ipv4 ? AF_INET : AF_INET6;
  const int kind = type == SocketType::stream ? SOCK_STREAM : SOCK_DGRAM;
  UniqueFd fd(::socket(domain, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return Failure(errno_error("socket"));
  return fd;
}

Result<void> set_option(int fd, int level, int option, int value, const char* name) {
  if (::setsockopt(fd, level, option, &value, sizeof value) != 0) {
    return Failure(errno_error(std::string("setsockopt(") + name + ")"));
  }
  return {};
}

Result<void> set_transparent(int fd, Family family) {
  return family == Family::ipv4 ? set_option(fd, SOL_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT")
                                : set_option(fd, SOL_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT");
}

Result<void> set_mark(int fd, std::uint32_t mark) {
  return set_option(fd, SOL_SOCKET, SO_MARK, static_cast<int>(mark), "SO_MARK");
}

Result<void> bind_to(int fd, const Endpoint& endpoint) {
  const SocketAddress address(endpoint);
  if (::bind(fd, address.get(), address.size()) != 0) {
    return Failure(errno_error("bind " + endpoint.text()));
  }
  return {};
}

namespace {

using AddressQuery = int (*)(int, sockaddr*, socklen_t*);

Result<Endpoint> query(int fd, AddressQuery call, const char* name) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (call(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return Failure(errno_error(name));
  }
  const auto endpoint = Endpoint::from(storage);
  if (!endpoint) return Failure(errno_error(name, EAFNOSUPPORT));
  return *endpoint;
}

}  // namespace

Result<Endpoint> local_endpoint(int fd) { return query(fd, ::getsockname, "getsockname"); }
Result<Endpoint> peer_endpoint(int fd) { return query(fd, ::getpeername, "getpeername"); }

int pending_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

void reset_on_close(int fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void send_without_delay(int fd) { (void)set_option(fd, SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY"); }

void acknowledge_with_data(int fd) {
  (void)set_option(fd, SOL_TCP, TCP_QUICKACK, 0, "TCP_QUICKACK");
}

void tune_relayed_tcp(int fd) {
  send_without_delay(fd);
  keep_urgent_bytes_in_line(fd);
  watch_for_dead_peer(fd);
}

void keep_urgent_bytes_in_line(int fd) {
  // Out of line, a read that begins at the urgent mark skips the byte, and after a reset the byte
  // cannot be had any more (ENOTCONN). In line it is never lost; the relay looks for the mark.
  (void)set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1, "SO_OOBINLINE");
}

// In this order: TCP_KEEPIDLE counts from the last byte, and the time until then from now.
void watch_for_dead_peer(int fd) {
  (void)set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
  (void)set_option(fd, SOL_TCP, TCP_KEEPIDLE, limits::kKeepaliveIdleSeconds, "TCP_KEEPIDLE");
  (void)set_option(fd, SOL_TCP, TCP_KEEPINTVL, limits::kKeepaliveIntervalSeconds, "TCP_KEEPINTVL");
  (void)set_option(fd, SOL_TCP, TCP_KEEPCNT, limits::kKeepaliveProbes, "TCP_KEEPCNT");
}

}  // namespace shunt
