// SPDX-License-Identifier: GPL-2.0-only
#include "capture/parking.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "net/socket.h"

namespace shunt {
namespace {

constexpr int kFillWithinMs = 1000;  // loopback takes microseconds

}  // namespace

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

int connect_without_waiting(int fd, const SocketAddress& address) {
  const int flags = ::fcntl(fd, F_GETFL);
  const bool blocking = flags >= 0 && (flags & O_NONBLOCK) == 0;
  if (blocking) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  const int error = ::connect(fd, address.get(), address.size()) == 0 ? 0 : errno;
  if (blocking) ::fcntl(fd, F_SETFL, flags);
  return error;
}

bool is_connected(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  switch (info.tcpi_state) {
    case TCP_SYN_SENT:
    case TCP_SYN_RECV:
    case TCP_LISTEN:
    case TCP_CLOSE: return false;
    default: return true;
  }
}

// One connection fits into a queue of length 0 (sk_acceptq_is_full(), include/net/sock.h).
Result<Parking::Place> Parking::make(Family family) {
  Place place;
  place.listener = SHUNT_TRY(make_socket(family, SocketType::stream));
  const int fd = place.listener.get();
  SHUNT_CHECK(set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
  SHUNT_CHECK(bind_to(fd, {.address = Address::loopback(family), .port = 0}));
  place.address = SHUNT_TRY(local_endpoint(fd));
  if (::listen(fd, 0) != 0) return Failure(errno_error("listen"));
  place.filler = SHUNT_TRY(make_socket(family, SocketType::stream));
  const int error = connect_without_waiting(place.filler.get(), SocketAddress(place.address));
  if (error != 0 && error != EINPROGRESS) return Failure(errno_error("connect to lo", error));
  pollfd connected{.fd = place.filler.get(), .events = POLLOUT, .revents = 0};
  if (::poll(&connected, 1, kFillWithinMs) <= 0 || !is_connected(place.filler.get())) {
    return Failure(errno_error("fill a listener's queue", ETIMEDOUT));
  }
  return place;
}

Result<Parking> Parking::create() {
  Parking parking;
  parking.ipv4_ = SHUNT_TRY(make(Family::ipv4));
  if (auto ipv6 = make(Family::ipv6)) parking.ipv6_ = *std::move(ipv6);
  return parking;
}

int Parking::park(int fd, Family domain, const Endpoint& destination) const {
  const bool to_v4 = destination.address.is_v4();
  if (domain == Family::ipv4 && !to_v4) return EAFNOSUPPORT;
  const bool v6_only = domain == Family::ipv6 && is_v6_only(fd);
  if (v6_only && to_v4) return ENETUNREACH;
  // Bound to a device it would send the SYN out there.
  if (is_bound_to_device(fd)) return EHOSTUNREACH;
  // With it connect() succeeds at once and sends nothing.
  (void)set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0, "TCP_FASTOPEN_CONNECT");
  const bool by_v4 = to_v4 || !ipv6_;
  if (v6_only && by_v4 && !clear_v6_only(fd)) return EADDRNOTAVAIL;
  const Endpoint& place = by_v4 ? ipv4_.address : ipv6_->address;
  const int error = connect_without_waiting(fd, SocketAddress(place, domain));
  return error == EINPROGRESS ? 0 : error;
}

Result<UniqueFd> Parking::meet(const Endpoint& client) const {
  const Family family = client.address.family();
  if (family == Family::ipv6 && !ipv6_) return Failure(errno_error("connect", EAFNOSUPPORT));
  auto fd = SHUNT_TRY(make_socket(family, SocketType::stream));
  SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
  SHUNT_CHECK(bind_to(fd.get(), family == Family::ipv4 ? ipv4_.address : ipv6_->address));
  tune_relayed_tcp(fd.get());
  const int error = connect_without_waiting(fd.get(), SocketAddress(client));
  if (error != 0 && error != EINPROGRESS) return Failure(errno_error("connect", error));
  return fd;
}

bool Parking::is_place(const Endpoint& endpoint) const {
  return endpoint == ipv4_.address || (ipv6_ && endpoint == ipv6_->address);
}

std::vector<Endpoint> Parking::places() const {
  std::vector<Endpoint> out{ipv4_.address};
  if (ipv6_) out.push_back(ipv6_->address);
  return out;
}

}  // namespace shunt
