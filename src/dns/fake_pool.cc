// SPDX-License-Identifier: GPL-2.0-only
#include "dns/fake_pool.h"

#include <algorithm>
#include <cstring>

#include "base/counters.h"

namespace shunt {
namespace {

constexpr auto kStillKnown = std::chrono::seconds(2 * limits::kFakeTtlS);

/// The last four bytes hold the place: no range has more of them.
Address address_at(const Network& network, FakePool::Place place) {
  std::string bytes(network.address.bytes());
  for (std::size_t i = 0; i < 4; ++i) {
    char& byte = bytes[bytes.size() - 1 - i];
    byte = static_cast<char>(static_cast<unsigned char>(byte) | (place >> (8 * i) & 0xff));
  }
  if (network.address.is_v4()) {
    in_addr v4{};
    std::memcpy(&v4, bytes.data(), sizeof v4);
    return Address(v4);
  }
  in6_addr v6{};
  std::memcpy(&v6, bytes.data(), sizeof v6);
  return Address(v6);
}

FakePool::Place place_in(const Network& network, const Address& address) {
  const std::string_view bytes = address.bytes();
  const std::string_view first = network.address.bytes();
  std::uint32_t place = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    place = place << 8 | static_cast<unsigned char>(bytes[i] ^ first[i]);
  }
  return place;
}

/// Neither the first address nor the last is given.
std::size_t places_of(const Network& network) {
  const std::size_t bits = network.address.bytes().size() * 8 - network.prefix_length;
  return bits >= 31 ? SIZE_MAX : (std::size_t{1} << bits) - 2;
}

}  // namespace

FakePool::FakePool(const Network& v4, const std::optional<Network>& v6, std::size_t most)
    : v4_(v4), v6_(v6), most_(std::min(most, places_of(v4))) {
  if (v6_) most_ = std::min(most_, places_of(*v6_));
}

std::optional<Address> FakePool::give(std::string_view name, Family family, Time now) {
  if (!has(family)) return std::nullopt;
  std::optional<Given> given;
  {
    const std::scoped_lock lock(mutex_);
    given = place_of(name, now);
  }
  if (!given) return std::nullopt;
  if (given->fresh) on_assignment_(given->place, name);
  return address_at(family == Family::ipv4 ? v4_ : *v6_, given->place);
}

std::optional<FakePool::Given> FakePool::place_of(std::string_view name, Time now) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    touch(found->second, now);
    return Given{.place = found->second->place, .fresh = false};
  }
  const auto place = free_place(now);
  if (!place) return std::nullopt;
  insert(*place, name, now);
  return Given{.place = *place, .fresh = true};
}

std::optional<FakePool::Place> FakePool::free_place(Time now) {
  while (next_ <= most_ && by_place_.contains(next_)) ++next_;
  if (next_ <= most_) return next_++;
  count(Counter::fake_names_evicted);
  const Entry& oldest = entries_.front();
  if (now - oldest.used < kStillKnown) return std::nullopt;
  const Place place = oldest.place;
  by_name_.erase(oldest.name);
  by_place_.erase(place);
  entries_.pop_front();
  return place;
}

void FakePool::insert(Place place, std::string_view name, Time now) {
  entries_.push_back({.place = place, .name = std::string(name), .used = now});
  const auto entry = std::prev(entries_.end());
  by_name_.emplace(entry->name, entry);
  by_place_.emplace(place, entry);
}

void FakePool::touch(Entries::iterator entry, Time now) {
  entry->used = now;
  entries_.splice(entries_.end(), entries_, entry);
}

std::optional<std::string> FakePool::name_of(const Address& address, Time now) {
  if (!contains(address)) return std::nullopt;
  const Network& range = address.is_v4() ? v4_ : *v6_;
  const Place place = place_in(range, address);
  if (address_at(range, place) != address) return std::nullopt;  // far behind the last place
  const std::scoped_lock lock(mutex_);
  const auto found = by_place_.find(place);
  if (found == by_place_.end()) return std::nullopt;
  touch(found->second, now);
  return found->second->name;
}

bool FakePool::contains(const Address& address) const {
  return v4_.contains(address) || (v6_ && v6_->contains(address));
}

std::size_t FakePool::size() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

std::string FakePool::ranges() const { return v4_.text() + (v6_ ? ' ' + v6_->text() : ""); }

void FakePool::restore(const Assignments& assignments, Time now) {
  const std::scoped_lock lock(mutex_);
  for (const auto& [place, name] : assignments) {
    if (place == 0 || place > most_ || entries_.size() >= most_) continue;
    if (by_place_.contains(place) || by_name_.contains(name)) continue;
    insert(place, name, now);
  }
}

FakePool::Assignments FakePool::assignments() const {
  const std::scoped_lock lock(mutex_);
  Assignments out;
  out.reserve(entries_.size());
  for (const Entry& entry : entries_) out.emplace_back(entry.place, entry.name);
  return out;
}

}  // namespace shunt
