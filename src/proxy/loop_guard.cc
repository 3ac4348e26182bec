// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/loop_guard.h"

namespace shunt {
namespace {

std::uint32_t word(const Endpoint& endpoint) {
  const auto hash = std::hash<std::string_view>{}(endpoint.address.bytes());
  return static_cast<std::uint32_t>(hash ^ (hash >> 32)) | 1U;  // 0 means: nobody
}

}  // namespace

void LoopGuard::opened(const Endpoint& local) {
  by_port_[local.port].store(word(local), std::memory_order_release);
}

void LoopGuard::closed(const Endpoint& local) {
  std::uint32_t expected = word(local);
  by_port_[local.port].compare_exchange_strong(expected, 0, std::memory_order_relaxed);
}

bool LoopGuard::is_own(const Endpoint& source) const {
  return by_port_[source.port].load(std::memory_order_acquire) == word(source);
}

}  // namespace shunt
