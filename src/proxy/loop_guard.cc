// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/loop_guard.h"

#include <ifaddrs.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

namespace shunt {
namespace {

// A connect() takes some 30 us, or a time slice or two when its thread is preempted. A flow that
// has waited longer goes on; a loop then costs one hop more.
constexpr std::chrono::milliseconds kLongestConnect{20};

// Of a remembered pair: bits 1 and 2 say how often the flow has come by.
constexpr unsigned kHopsShift = 1;
constexpr std::uint32_t kHopsMask = 3U << kHopsShift;

std::uint32_t word(std::uint64_t hash) {
  return static_cast<std::uint32_t>(hash ^ (hash >> 32)) | 1U;  // 0 means: nobody
}

std::uint32_t word(const Address& address) {
  return word(std::hash<std::string_view>{}(address.bytes()));
}

/// Of the address that the kernel takes it for: connect() to the wildcard is one to loopback.
std::uint64_t hash_of(const Endpoint& endpoint) {
  const Address& address = endpoint.address;
  const Address meant = address.is_any() ? Address::loopback(address.family()) : address;
  return std::hash<std::string_view>{}(meant.bytes()) + endpoint.port;
}

/// The finalizer of MurmurHash3: endpoints that differ in one bit differ everywhere.
std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdULL;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return value ^ (value >> 33);
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
  const std::uint32_t known = place.load(std::memory_order_relaxed);
  if (known == value) return;
  if (known != 0) must_look_.store(true, std::memory_order_relaxed);  // it is not known from now on
  place.store(value);
}

bool LoopGuard::maybe_ours(const Address& address) const {
  const std::uint32_t value = word(address);
  return our_addresses_[(value >> 1) % kAddresses].load(std::memory_order_relaxed) == value;
}

void LoopGuard::opening() { connects_begun_.fetch_add(1); }

void LoopGuard::not_opened() { connects_over_.fetch_add(1); }

LoopGuard::Pair LoopGuard::pair_of(const Endpoint& local, const Endpoint& remote) {
  const std::uint64_t hash = mixed(mixed(hash_of(local)) + hash_of(remote));
  return {.line = hash % kLines, .hash = word(hash / kLines) & ~kHopsMask};
}

void LoopGuard::remember(const Endpoint& local, const Endpoint& remote, std::uint32_t hops) {
  const Pair pair = pair_of(local, remote);
  for (auto& place : lines_[pair.line].pairs) {
    std::uint32_t nobody = 0;
    const std::uint32_t value = pair.hash | hops << kHopsShift;
    if (place.compare_exchange_strong(nobody, value, std::memory_order_release)) break;
  }
  connects_over_.fetch_add(1);
}

void LoopGuard::opened(const Endpoint& local, const Endpoint& remote) {
  learn(local.address);
  remember(local, remote, kMostHops);
}

void LoopGuard::opened_for_client(const Endpoint& local, const Endpoint& remote,
                                  const Endpoint& client) {
  must_look_.store(true, std::memory_order_relaxed);
  remember(local, remote, std::min(hops_of(pair_of(client, remote)) + 1, kMostHops));
}

void LoopGuard::closed(const Endpoint& local, const Endpoint& remote) {
  const Pair pair = pair_of(local, remote);
  for (auto& place : lines_[pair.line].pairs) {
    std::uint32_t value = place.load(std::memory_order_relaxed);
    if ((value & ~kHopsMask) != pair.hash) continue;
    if (place.compare_exchange_strong(value, 0, std::memory_order_relaxed)) break;
  }
}

std::uint32_t LoopGuard::hops_of(Pair pair) const {
  std::uint32_t hops = 0;
  for (const auto& place : lines_[pair.line].pairs) {
    const std::uint32_t value = place.load(std::memory_order_acquire);
    if ((value & ~kHopsMask) == pair.hash) {
      hops = std::max(hops, (value & kHopsMask) >> kHopsShift);
    }
  }
  return hops;
}

bool LoopGuard::is_own(const Endpoint& source, const Endpoint& destination) const {
  const bool ours = maybe_ours(source.address);
  if (!ours && !must_look_.load(std::memory_order_relaxed)) return false;
  const Pair pair = pair_of(source, destination);
  if (hops_of(pair) == kMostHops) return true;
  if (!ours) return false;
  const std::uint64_t begun = connects_begun_.load();
  const auto deadline = Clock::now() + kLongestConnect;
  while (connects_over_.load() < begun && Clock::now() < deadline) std::this_thread::yield();
  return hops_of(pair) == kMostHops;
}

// Such a socket was opened towards 0.0.0.0:0, and is mostly bound to no address.
bool LoopGuard::is_own_datagram(const Endpoint& source) const {
  if (!maybe_ours(source.address)) return false;
  const Endpoint anywhere;
  const Endpoint any{.address = Address::any(source.address.family()), .port = source.port};
  return hops_of(pair_of(any, anywhere)) == kMostHops ||
         hops_of(pair_of(source, anywhere)) == kMostHops;
}

}  // namespace shunt
