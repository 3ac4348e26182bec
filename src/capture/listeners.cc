// SPDX-License-Identifier: GPL-2.0-only
#include "capture/listeners.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/limits.h"
#include "base/udp_limits.h"
#include "net/socket.h"

namespace shunt {

std::vector<int> ListenerSet::descriptors() const {
  std::vector<int> all;
  for (const auto* fds : {&tcp, &udp}) {
    for (const UniqueFd& fd : *fds) all.push_back(fd.get());
  }
  for (const auto* sockets : {&plain_tcp, &plain_udp}) {
    for (const PlainSocket& socket : *sockets) all.push_back(socket.fd.get());
  }
  if (hold) all.push_back(hold->queue.fd());
  return all;
}

void ListenerSet::adopt() {
  for (auto* fds : {&tcp, &udp}) {
    for (UniqueFd& fd : *fds) fd.adopt();
  }
  for (auto* sockets : {&plain_tcp, &plain_udp}) {
    for (PlainSocket& socket : *sockets) socket.fd.adopt();
  }
  if (hold) hold->queue.adopt();
}
namespace {

/// A port that is free for one protocol and family may be taken for the next: then the whole set is
/// made anew with another one.
constexpr int kPortAttempts = 16;

Result<UniqueFd> shared_socket(const Endpoint& address, SocketType type,
                               const ListenerOptions& options) {
  const Family family = address.address.family();
  UniqueFd fd = SHUNT_TRY(make_socket(family, type));
  if (type == SocketType::stream) {
    SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
    // Inherited by accepted connections, whose local port is that of their original destination:
    // without it a daemon that starts meanwhile could not listen on that port.
    SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  }
  if (family == Family::ipv6) {
    const bool both = address.address.is_any();
    SHUNT_CHECK(set_option(fd.get(), SOL_IPV6, IPV6_V6ONLY, both ? 0 : 1, "IPV6_V6ONLY"));
  }
  if (options.method == CaptureMethod::tproxy) SHUNT_CHECK(set_transparent(fd.get(), family));
  if (options.mark != 0) SHUNT_CHECK(set_mark(fd.get(), options.mark));
  SHUNT_CHECK(bind_to(fd.get(), address));
  return fd;
}

Result<UniqueFd> tcp_listener(const Endpoint& address, const ListenerOptions& options) {
  UniqueFd fd = SHUNT_TRY(shared_socket(address, SocketType::stream, options));
  (void)set_option(fd.get(), SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY");  // inherited by accepted ones
  if (::listen(fd.get(), limits::kListenBacklog) != 0) {
    return Failure(errno_error("listen " + address.text()));
  }
  return fd;
}

Result<UniqueFd> udp_listener(const Endpoint& address, const ListenerOptions& options) {
  UniqueFd fd = SHUNT_TRY(shared_socket(address, SocketType::datagram, options));
  if (address.address.is_v4()) {
    SHUNT_CHECK(set_option(fd.get(), SOL_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR"));
  } else {
    SHUNT_CHECK(set_option(fd.get(), SOL_IPV6, IPV6_RECVORIGDSTADDR, 1, "IPV6_RECVORIGDSTADDR"));
  }
  constexpr int kBytes = limits::kUdpReceiveBufferBytes;
  if (!set_option(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kBytes, "SO_RCVBUFFORCE")) {
    (void)set_option(fd.get(), SOL_SOCKET, SO_RCVBUF, kBytes, "SO_RCVBUF");
  }
  return fd;
}

/// The sockets of a group are numbered in the order in which they began to listen
/// (reuseport_add_sock()); for any other number the kernel chooses by its hash.
Result<void> choose_by_mark(int fd, const HoldMarks& marks) {
  if (marks.worker_unit == 0) return {};
  const auto mark = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_MARK);
  const auto shift = static_cast<std::uint32_t>(std::countr_zero(marks.worker_unit));
  constexpr std::uint32_t kNone = 0xffff'ffff;
  std::array<sock_filter, 9> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, mark),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, marks.mask),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, marks.held, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, marks.own, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, kNone),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, mark),
      BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, shift),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, marks.most_workers - 1),
      BPF_STMT(BPF_RET | BPF_A, 0),
  }};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) == 0) {
    return {};
  }
  return Failure(errno_error("setsockopt(SO_ATTACH_REUSEPORT_CBPF)"));
}

bool ipv6_exists() { return make_socket(Family::ipv6, SocketType::stream).has_value(); }

std::vector<Address> listening_addresses(CaptureMethod method, bool ipv6) {
  if (method == CaptureMethod::redirect) {
    return {Address::any(ipv6 ? Family::ipv6 : Family::ipv4)};  // [::] takes IPv4 as well
  }
  std::vector<Address> addresses{Address::loopback(Family::ipv4)};
  if (ipv6) addresses.push_back(Address::loopback(Family::ipv6));
  return addresses;
}

/// `index` from 0: the worker's.
Result<ListenerSet> make_set(const std::vector<Address>& addresses, std::uint16_t& port,
                             unsigned index, const ListenerOptions& options) {
  const bool udp = options.udp && options.method == CaptureMethod::tproxy;
  ListenerSet set;
  for (const Address& address : addresses) {
    set.tcp.push_back(SHUNT_TRY(tcp_listener(Endpoint{address, port}, options)));
    if (port == 0) port = SHUNT_TRY(local_endpoint(set.tcp.back().get())).port;
    if (udp && index < options.udp_listeners) {
      if (port + index > 65'535) return Failure(errno_error("ports for UDP", EADDRINUSE));
      const auto own_port = static_cast<std::uint16_t>(port + index);
      set.udp.push_back(SHUNT_TRY(udp_listener(Endpoint{address, own_port}, options)));
    }
  }
  return set;
}

Result<Listeners> try_once(const ListenerOptions& options) {
  Listeners made;
  made.ipv6 = ipv6_exists();
  made.port = options.port;
  const auto addresses = listening_addresses(options.method, made.ipv6);
  for (unsigned i = 0; i < options.workers; ++i) {
    made.workers.push_back(SHUNT_TRY(make_set(addresses, made.port, i, options)));
  }
  for (const UniqueFd& fd : made.workers.front().tcp) {
    SHUNT_CHECK(choose_by_mark(fd.get(), options.hold));
  }
  made.own = own_endpoints(addresses, made.port, options.udp_listeners);
  return made;
}

}  // namespace

std::vector<Endpoint> own_endpoints(const std::vector<Address>& addresses, std::uint16_t port,
                                    unsigned udp_listeners) {
  std::vector<Endpoint> own;
  for (const Address& address : addresses) {
    own.push_back(Endpoint{address, port});
    for (unsigned i = 1; i < udp_listeners; ++i) {
      own.push_back(Endpoint{address, static_cast<std::uint16_t>(port + i)});
    }
  }
  return own;
}

Result<Listeners> make_listeners(const ListenerOptions& options) {
  for (int attempt = 1;; ++attempt) {
    auto made = try_once(options);
    if (made || made.error().os_error != EADDRINUSE || attempt == kPortAttempts) return made;
  }
}

}  // namespace shunt
