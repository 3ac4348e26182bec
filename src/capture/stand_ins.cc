// SPDX-License-Identifier: GPL-2.0-only
#include "capture/stand_ins.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <utility>

#include "base/counters.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::uint32_t kNetwork = 0x7f40'0000;  // 127.64.0.0
constexpr std::uint32_t kHosts = 0x003f'ffff;

constexpr int kReceiveBufferBytes = 4 * 1024 * 1024;  // capped by net.core.rmem_max

Address address_of(std::uint32_t number) { return Address(in_addr{htonl(kNetwork | number)}); }

std::optional<std::uint32_t> number_of(const Address& address) {
  if (!address.is_v4()) return std::nullopt;
  const std::uint32_t bits = ntohl(address.v4().s_addr);
  if ((bits & ~kHosts) != kNetwork) return std::nullopt;
  return bits & kHosts;
}

}  // namespace

Result<UniqueFd> StandIns::listen() {
  auto fd = SHUNT_TRY(make_socket(Family::ipv4, SocketType::datagram));
  // Bound to the wildcard, since there is no other way to have all of the addresses.
  constexpr char kLoopback[] = "lo";
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, kLoopback, sizeof kLoopback) != 0) {
    return Failure(errno_error("bind a listener to lo"));
  }
  SHUNT_CHECK(set_option(fd.get(), IPPROTO_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR"));
  (void)set_option(fd.get(), SOL_SOCKET, SO_RCVBUF, kReceiveBufferBytes, "SO_RCVBUF");
  SHUNT_CHECK(bind_to(fd.get(), {.address = Address::any(Family::ipv4), .port = 0}));
  const auto bound = SHUNT_TRY(local_endpoint(fd.get()));
  port_ = bound.port;
  return fd;
}

Endpoint StandIns::stand_in_for(const Endpoint& destination) {
  if (const std::uint32_t* known = by_destination_.find(destination)) {
    return {.address = address_of(*known), .port = port_};
  }
  if (by_destination_.full()) {
    by_number_.erase(by_destination_.oldest().second);
    count(Counter::stand_ins_forgotten);
  }
  do {
    last_ = last_ + 1 >= kHosts ? 1 : last_ + 1;  // not the first and not the last address
  } while (by_number_.contains(last_));
  by_number_.emplace(last_, destination);
  by_destination_.set(destination, last_);
  return {.address = address_of(last_), .port = port_};
}

std::optional<Endpoint> StandIns::meant_by(const Endpoint& received_at) {
  const auto number = number_of(received_at.address);
  if (!number || received_at.port != port_) return std::nullopt;
  const auto found = by_number_.find(*number);
  if (found == by_number_.end()) return std::nullopt;
  (void)by_destination_.find(found->second);  // counts as used
  return found->second;
}

}  // namespace shunt
