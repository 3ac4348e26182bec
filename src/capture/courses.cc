// SPDX-License-Identifier: GPL-2.0-only
#include "capture/courses.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>

#include "base/limits.h"
#include "kernel/links.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::uint16_t kDnsPort = 53;

constexpr int kLeastHostBits = 2;  // a network of less has no broadcast address (RFC 3021)

/// The last address of the network that it is in; the kernel has a route for it
/// (fib_add_ifaddr(), net/ipv4/fib_frontend.c).
std::optional<Address> broadcast_of(const InterfaceAddress& own) {
  if (!own.address.is_v4() || own.prefix_length > 32 - kLeastHostBits) return std::nullopt;
  const std::uint32_t hosts = 0xffff'ffffU >> own.prefix_length;
  return Address(in_addr{own.address.v4().s_addr | htonl(hosts)});
}

}  // namespace

Course Courses::of(const Endpoint& destination) {
  const Address& address = destination.address;
  const bool broadcast = address.is_v4() && address.v4().s_addr == INADDR_BROADCAST;
  if (address.is_multicast() || broadcast) return Course::refused;
  if (address.is_any()) return Course::native;
  if (address.is_loopback()) {
    const bool resolver = destination.port == kDnsPort &&
                          std::ranges::find(name_servers_, address) != name_servers_.end();
    return resolver ? Course::captured : Course::native;
  }
  look_at_addresses();
  if (std::ranges::binary_search(own_, address)) return Course::native;
  return std::ranges::binary_search(broadcasts_, address) ? Course::refused : Course::captured;
}

void Courses::look_at_addresses() {
  const auto now = Clock::now();
  const bool never = looked_at_ == Clock::time_point::min();
  if (!never && now - looked_at_ <= std::chrono::milliseconds(limits::kOwnAddressesMs)) return;
  looked_at_ = now;
  const auto listed = list_addresses();
  if (!listed) return;
  own_.clear();
  broadcasts_.clear();
  for (const InterfaceAddress& entry : *listed) {
    own_.push_back(entry.address);
    if (const auto broadcast = broadcast_of(entry)) broadcasts_.push_back(*broadcast);
  }
  std::ranges::sort(own_);
  std::ranges::sort(broadcasts_);
}

int Courses::unreachable(const Endpoint& destination) const {
  if (through_proxy_ && destination.address.is_v4()) return 0;
  const auto fd = make_socket(destination.address.family(), SocketType::datagram);
  if (!fd) return fd.error().os_error;
  const SocketAddress to(destination);
  return ::connect(fd->get(), to.get(), to.size()) == 0 ? 0 : errno;
}

}  // namespace shunt
