// SPDX-License-Identifier: GPL-2.0-only
#include "capture/courses.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/limits.h"
#include "kernel/links.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::uint16_t kDnsPort = 53;

bool is_broadcast(const Address& address) {
  return address.is_v4() && address.v4().s_addr == INADDR_BROADCAST;
}

}  // namespace

Course Courses::of(const Endpoint& destination) {
  const Address& address = destination.address;
  if (address.is_multicast() || is_broadcast(address)) return Course::refused;
  if (address.is_any()) return Course::native;
  if (address.is_loopback()) {
    const bool resolver = destination.port == kDnsPort &&
                          std::ranges::find(name_servers_, address) != name_servers_.end();
    return resolver ? Course::captured : Course::native;
  }
  return is_own(address) ? Course::native : Course::captured;
}

bool Courses::is_own(const Address& address) {
  const auto now = Clock::now();
  const bool never = looked_at_ == Clock::time_point::min();
  if (never || now - looked_at_ > std::chrono::milliseconds(limits::kOwnAddressesMs)) {
    if (const auto listed = list_addresses()) {
      own_.clear();
      for (const InterfaceAddress& entry : *listed) own_.push_back(entry.address);
      std::ranges::sort(own_);
    }
    looked_at_ = now;
  }
  return std::ranges::binary_search(own_, address);
}

int Courses::unreachable(const Endpoint& destination) const {
  if (through_proxy_ && destination.address.is_v4()) return 0;
  const auto fd = make_socket(destination.address.family(), SocketType::datagram);
  if (!fd) return fd.error().os_error;
  const SocketAddress to(destination);
  return ::connect(fd->get(), to.get(), to.size()) == 0 ? 0 : errno;
}

}  // namespace shunt
