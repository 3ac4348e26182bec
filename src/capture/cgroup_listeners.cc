// SPDX-License-Identifier: GPL-2.0-only
#include "capture/cgroup_listeners.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/limits.h"
#include "base/udp_limits.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr int kPortAttempts = 16;  // one that is free for TCP may be taken for UDP

/// `lo` is the first interface of every network namespace. Not SO_BINDTODEVICE: answers to clients
/// that are bound to another address of this machine would find no route.
Result<void> hear_only_loopback(int fd) {
  constexpr std::uint32_t kAll = 0xffff'ffff;
  constexpr std::uint32_t kLoopback = 1;
  const auto interface = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_IFINDEX);
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, interface),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLoopback, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, kAll),
      BPF_STMT(BPF_RET | BPF_K, 0),
  }};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0) return {};
  return Failure(errno_error("setsockopt(SO_ATTACH_FILTER)"));
}

Result<UniqueFd> shared_socket(Family family, SocketType type, std::uint32_t mark) {
  UniqueFd fd = SHUNT_TRY(make_socket(family, type));
  SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
  if (family == Family::ipv6) {
    SHUNT_CHECK(set_option(fd.get(), SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
  }
  if (mark != 0) SHUNT_CHECK(set_mark(fd.get(), mark));
  return fd;
}

Result<UniqueFd> tcp_listener(Family family, std::uint16_t port, std::uint32_t mark) {
  UniqueFd fd = SHUNT_TRY(shared_socket(family, SocketType::stream, mark));
  SHUNT_CHECK(bind_to(fd.get(), {.address = Address::loopback(family), .port = port}));
  (void)set_option(fd.get(), SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY");  // inherited by accepted ones
  if (::listen(fd.get(), limits::kListenBacklog) != 0) return Failure(errno_error("listen"));
  return fd;
}

Result<UniqueFd> udp_listener(Family family, std::uint16_t port, std::uint32_t mark) {
  UniqueFd fd = SHUNT_TRY(shared_socket(family, SocketType::datagram, mark));
  SHUNT_CHECK(hear_only_loopback(fd.get()));
  if (family == Family::ipv4) {
    SHUNT_CHECK(set_option(fd.get(), SOL_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR"));
  } else {
    SHUNT_CHECK(set_option(fd.get(), SOL_IPV6, IPV6_RECVORIGDSTADDR, 1, "IPV6_RECVORIGDSTADDR"));
    // To answer from an address that is local by a route alone.
    SHUNT_CHECK(set_option(fd.get(), SOL_IPV6, IPV6_FREEBIND, 1, "IPV6_FREEBIND"));
  }
  constexpr int kBytes = limits::kUdpReceiveBufferBytes;
  if (!set_option(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kBytes, "SO_RCVBUFFORCE")) {
    (void)set_option(fd.get(), SOL_SOCKET, SO_RCVBUF, kBytes, "SO_RCVBUF");
  }
  SHUNT_CHECK(bind_to(fd.get(), {.address = Address::any(family), .port = port}));
  return fd;
}

/// Where `lo` has no ::1, nothing can be sent to it.
bool ipv6_works() {
  const auto probe = make_socket(Family::ipv6, SocketType::datagram);
  return probe && bind_to(probe->get(), {.address = Address::loopback(Family::ipv6), .port = 0});
}

Result<ListenerSet> make_set(Listeners& made, std::uint32_t mark) {
  ListenerSet set;
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    if (family == Family::ipv6 && !made.ipv6) continue;
    set.tcp.push_back(SHUNT_TRY(tcp_listener(family, made.port, mark)));
    if (made.port == 0) made.port = SHUNT_TRY(local_endpoint(set.tcp.back().get())).port;
    set.udp.push_back(SHUNT_TRY(udp_listener(family, made.port, mark)));
  }
  return set;
}

Result<Listeners> try_once(unsigned workers, std::uint32_t mark) {
  Listeners made;
  made.ipv6 = ipv6_works();
  for (unsigned i = 0; i < workers; ++i) {
    made.workers.push_back(SHUNT_TRY(make_set(made, mark)));
  }
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    if (family == Family::ipv6 && !made.ipv6) continue;
    made.own.push_back({.address = Address::loopback(family), .port = made.port});
  }
  return made;
}

}  // namespace

Result<Listeners> make_cgroup_listeners(unsigned workers, std::uint32_t mark) {
  for (int attempt = 1;; ++attempt) {
    auto made = try_once(workers, mark);
    if (made || made.error().os_error != EADDRINUSE || attempt == kPortAttempts) return made;
  }
}

}  // namespace shunt
