// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/loop_guard.h"

#include <ifaddrs.h>

#include <chrono>
#include <cstring>
#include <thread>

namespace shunt {
namespace {

// A connect() takes some 30 us, or a time slice or two when its thread is preempted. A flow that
// has waited longer goes on; a loop then costs one hop more.
constexpr std::chrono::milliseconds kLongestConnect{20};

std::uint32_t word(const Address& address) {
  const auto hash = std::hash<std::string_view>{}(address.bytes());
  return static_cast<std::uint32_t>(hash ^ (hash >> 32)) | 1U;  // 0 means: nobody
}

}  // namespace

LoopGuard::LoopGuard() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const auto family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    if (const auto endpoint = Endpoint::from(storage)) learn(endpoint->address);
  }
  ::freeifaddrs(list);
}

void LoopGuard::learn(const Address& address) {
  const std::uint32_t value = word(address);
  auto& place = our_addresses_[(value >> 1) % kAddresses];
  if (place.load(std::memory_order_relaxed) != value) place.store(value);
}

bool LoopGuard::maybe_ours(const Address& address) const {
  const std::uint32_t value = word(address);
  return our_addresses_[(value >> 1) % kAddresses].load(std::memory_order_relaxed) == value;
}

void LoopGuard::opening() { connects_begun_.fetch_add(1); }

void LoopGuard::not_opened() { connects_over_.fetch_add(1); }

void LoopGuard::opened(const Endpoint& local) {
  by_port_[local.port].store(word(local.address), std::memory_order_release);
  learn(local.address);
  connects_over_.fetch_add(1);
}

void LoopGuard::closed(const Endpoint& local) {
  std::uint32_t expected = word(local.address);
  by_port_[local.port].compare_exchange_strong(expected, 0, std::memory_order_relaxed);
}

bool LoopGuard::matches(const Endpoint& source) const {
  return by_port_[source.port].load(std::memory_order_acquire) == word(source.address);
}

bool LoopGuard::is_own(const Endpoint& source) const {
  if (matches(source)) return true;
  if (!maybe_ours(source.address)) return false;
  const std::uint64_t begun = connects_begun_.load();
  const auto deadline = Clock::now() + kLongestConnect;
  while (connects_over_.load() < begun && Clock::now() < deadline) std::this_thread::yield();
  return matches(source);
}

}  // namespace shunt
