// SPDX-License-Identifier: GPL-2.0-only
// Addresses that stand for names. A client that asks for a name is given one of a private range; a
// flow to it is then one to the name, whatever the client says later. A name has one place in both
// ranges, so that its IPv4 and IPv6 addresses end alike.
//
// The name that was used least recently gives up its place when the range is full, unless it was
// used so short a while ago that a client may still know its address: then nothing is given, since
// an address that changes its meaning leads to the wrong host.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dns/limits.h"
#include "net/network.h"

namespace shunt {

/// Any thread.
class FakePool {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Place = std::uint32_t;  ///< from 1: what is added to the beginning of a range

  /// `v4` is at most a /30, `v6` at most a /126.
  explicit FakePool(const Network& v4, const std::optional<Network>& v6 = {},
                    std::size_t most = limits::kFakeNames);

  /// The name's address. Nothing: there is no range of that family, or no place is free.
  std::optional<Address> give(std::string_view name, Family family, Time now);
  /// The name that the address stands for.
  std::optional<std::string> name_of(const Address& address, Time now);
  [[nodiscard]] bool contains(const Address& address) const;
  [[nodiscard]] bool has(Family family) const { return family == Family::ipv4 || v6_.has_value(); }
  [[nodiscard]] std::size_t size() const;
  /// "198.18.0.0/15 fc00::/64".
  [[nodiscard]] std::string ranges() const;

  using Assignments = std::vector<std::pair<Place, std::string>>;
  /// As they were, the least recently used first. What has no room is passed over.
  void restore(const Assignments& assignments, Time now);
  [[nodiscard]] Assignments assignments() const;
  /// Called with each new assignment before give() returns it, on the thread that caused it, of
  /// several perhaps at once. The pool is not locked then. Set it before others use the pool.
  void on_assignment(std::function<void(Place, std::string_view)> callback) {
    on_assignment_ = std::move(callback);
  }

 private:
  struct Entry {
    Place place = 0;
    std::string name;
    Time used;
  };
  using Entries = std::list<Entry>;  // the least recently used first

  struct Given {
    Place place = 0;
    bool fresh = false;  ///< assigned just now
  };
  std::optional<Given> place_of(std::string_view name, Time now);
  std::optional<Place> free_place(Time now);
  void insert(Place place, std::string_view name, Time now);
  void touch(Entries::iterator entry, Time now);

  Network v4_;
  std::optional<Network> v6_;
  std::size_t most_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::unordered_map<std::string_view, Entries::iterator> by_name_;  // views of Entry::name
  std::unordered_map<Place, Entries::iterator> by_place_;
  Place next_ = 1;  // not given yet, unless restore() did
  std::function<void(Place, std::string_view)> on_assignment_ = [](Place, std::string_view) {};
};

}  // namespace shunt
