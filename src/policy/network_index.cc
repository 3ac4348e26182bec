// SPDX-License-Identifier: GPL-2.0-only
#include "policy/network_index.h"

#include <algorithm>
#include <tuple>

namespace shunt {
namespace {

std::size_t family_of(const Address& address) { return address.is_v4() ? 0 : 1; }

}  // namespace

NetworkIndex::Key NetworkIndex::key_of(const Address& address) {
  Key key;
  const std::string_view bytes = address.bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint64_t& half = i < 8 ? key.high : key.low;
    half |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (56 - i % 8 * 8);
  }
  return key;
}

NetworkIndex::Key NetworkIndex::masked(const Key& key, unsigned prefix_length) {
  const auto keep = [](unsigned bits) {
    return bits == 0 ? 0 : bits >= 64 ? ~0ULL : ~0ULL << (64 - bits);
  };
  return {key.high & keep(prefix_length),
          key.low & keep(prefix_length > 64 ? prefix_length - 64 : 0)};
}

bool NetworkIndex::holds(const Entry& entry, const Key& key, unsigned prefix_length) {
  return entry.prefix_length <= prefix_length && masked(key, entry.prefix_length) == entry.first;
}

void NetworkIndex::add(const Network& network, std::uint32_t term) {
  items_[family_of(network.address)].push_back(
      {.first = key_of(network.address),
       .prefix_length = static_cast<std::uint8_t>(network.prefix_length),
       .term = term});
}

void NetworkIndex::build() {
  for (std::size_t family = 0; family < tables_.size(); ++family) {
    build(tables_[family], items_[family]);
    items_[family] = {};
  }
}

void NetworkIndex::build(Table& table, std::vector<Item>& items) {
  std::ranges::sort(items, {}, [](const Item& item) {
    return std::tuple(item.first, item.prefix_length, item.term);
  });
  for (const Item& item : items) {
    const bool same = !table.empty() && table.back().first == item.first &&
                      table.back().prefix_length == item.prefix_length;
    if (!same) {
      // What encloses a network begins before it, or with it and is shorter: it is the one in front
      // of it or encloses that one.
      std::uint32_t enclosing =
          table.empty() ? kNone : static_cast<std::uint32_t>(table.size() - 1);
      while (enclosing != kNone && !holds(table[enclosing], item.first, item.prefix_length)) {
        enclosing = table[enclosing].enclosing;
      }
      table.push_back({.first = item.first,
                       .prefix_length = item.prefix_length,
                       .enclosing = enclosing,
                       .terms_first = static_cast<std::uint32_t>(terms_.size())});
    } else if (terms_.back() == item.term) {
      continue;
    }
    terms_.push_back(item.term);
    ++table.back().terms_count;
  }
  table.shrink_to_fit();
}

void NetworkIndex::find(const Address& address, std::vector<std::uint32_t>& terms) const {
  const Table& table = tables_[family_of(address)];
  const Key key = key_of(address);
  const auto behind = std::ranges::upper_bound(table, key, {}, &Entry::first);
  if (behind == table.begin()) return;
  for (auto at = static_cast<std::uint32_t>(behind - table.begin() - 1); at != kNone;
       at = table[at].enclosing) {
    if (!holds(table[at], key, 128)) continue;
    const auto first = terms_.begin() + table[at].terms_first;
    terms.insert(terms.end(), first, first + table[at].terms_count);
  }
}

}  // namespace shunt
