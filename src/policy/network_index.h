// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <vector>

#include "net/network.h"

namespace shunt {

/// From addresses to the terms whose networks they lie in. Networks are kept sorted, each with the
/// smallest other that encloses it: one binary search finds the last network that begins at or
/// before an address, and every network with that address is that one or encloses it, because
/// prefixes nest or are disjoint. Immutable once built; any thread.
class NetworkIndex {
 public:
  void add(const Network& network, std::uint32_t term);
  void build();

  [[nodiscard]] bool empty() const { return tables_[0].empty() && tables_[1].empty(); }
  /// Appends the terms whose networks hold `address`, in no order.
  void find(const Address& address, std::vector<std::uint32_t>& terms) const;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Key {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    Key first;
    std::uint8_t prefix_length = 0;
    std::uint32_t enclosing = kNone;  // its index
    std::uint32_t terms_first = 0;
    std::uint32_t terms_count = 0;
  };
  struct Item {
    Key first;
    std::uint8_t prefix_length = 0;
    std::uint32_t term = 0;
  };
  using Table = std::vector<Entry>;

  static Key key_of(const Address& address);
  static Key masked(const Key& key, unsigned prefix_length);
  static bool holds(const Entry& entry, const Key& key, unsigned prefix_length);
  void build(Table& table, std::vector<Item>& items);

  std::array<std::vector<Item>, 2> items_;  // until build(); by family
  std::array<Table, 2> tables_;
  std::vector<std::uint32_t> terms_;
};

}  // namespace shunt
