// SPDX-License-Identifier: GPL-2.0-only
#include "capture/parking.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "capture/call_limits.h"
#include "net/socket.h"
#include "net/socket_state.h"

namespace shunt {
namespace {

constexpr int kFillWithinMs = 1000;  // loopback takes microseconds

}  // namespace

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
  parking.ipv4_.all.push_back(SHUNT_TRY(make(Family::ipv4)));
  if (auto place = make(Family::ipv6)) parking.ipv6_.all.push_back(*std::move(place));
  return parking;
}

/// `tried` have no local address left for a socket.
bool Parking::turn_to_another(Places& places, std::size_t tried) {
  if (tried < places.all.size()) {
    places.current = (places.current + 1) % places.all.size();
    return true;
  }
  if (places.all.size() >= limits::kParkingPlaces) {
    count(Counter::parking_full);
    return false;
  }
  auto made = make(places.family);
  if (!made) return false;
  places.all.push_back(*std::move(made));
  places.current = places.all.size() - 1;
  return true;
}

std::expected<Endpoint, int> Parking::connect_to_one(Places& places, int fd, Family domain) {
  std::size_t tried = 0;
  do {
    const Endpoint& place = places.all[places.current].address;
    const int error = connect_without_waiting(fd, SocketAddress(place, domain));
    if (error == 0 || error == EINPROGRESS) return place;
    if (error != EADDRNOTAVAIL) return std::unexpected(error);
    ++tried;
  } while (turn_to_another(places, tried));
  return std::unexpected(EADDRNOTAVAIL);
}

std::expected<Endpoint, int> Parking::park(int fd, Family domain, const Endpoint& destination) {
  const bool to_v4 = destination.address.is_v4();
  if (domain == Family::ipv4 && !to_v4) return std::unexpected(EAFNOSUPPORT);
  const bool v6_only = domain == Family::ipv6 && is_v6_only(fd);
  if (v6_only && to_v4) return std::unexpected(ENETUNREACH);
  // Bound to a device it would send the SYN out there.
  if (is_bound_to_device(fd)) return std::unexpected(EHOSTUNREACH);
  // With it connect() succeeds at once and sends nothing.
  (void)set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0, "TCP_FASTOPEN_CONNECT");
  const bool by_v4 = to_v4 || ipv6_.all.empty();
  if (v6_only && by_v4 && !clear_v6_only(fd)) return std::unexpected(EADDRNOTAVAIL);
  return connect_to_one(by_v4 ? ipv4_ : ipv6_, fd, domain);
}

Result<UniqueFd> Parking::meet(const Endpoint& client, const Endpoint& place) {
  auto fd = SHUNT_TRY(make_socket(place.address.family(), SocketType::stream));
  SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
  SHUNT_CHECK(bind_to(fd.get(), place));
  tune_relayed_tcp(fd.get());
  const int error = connect_without_waiting(fd.get(), SocketAddress(client));
  if (error != 0 && error != EINPROGRESS) return Failure(errno_error("connect", error));
  return fd;
}

bool Parking::is_place(const Endpoint& endpoint) const {
  const Places& places = endpoint.address.is_v4() ? ipv4_ : ipv6_;
  return std::ranges::any_of(places.all,
                             [&endpoint](const Place& place) { return place.address == endpoint; });
}

std::vector<Endpoint> Parking::places() const {
  std::vector<Endpoint> out;
  for (const Places* places : {&ipv4_, &ipv6_}) {
    for (const Place& place : places->all) out.push_back(place.address);
  }
  return out;
}

std::uint64_t Parking::network() const { return network_of(ipv4_.all.front().listener.get()); }

}  // namespace shunt
