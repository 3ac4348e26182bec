// SPDX-License-Identifier: GPL-2.0-only
// A map of bounded size: a new entry displaces the one that was not asked for or set for longest.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <unordered_map>
#include <utility>

namespace shunt {

template <class Key, class Value, class Hash = std::hash<Key>>
class LruMap {
 public:
  explicit LruMap(std::size_t most) : most_(most) {}

  /// Null where there is none; else valid until the next set() or erase(). It counts as used.
  Value* find(const Key& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    order_.splice(order_.end(), order_, found->second);
    return &found->second->second;
  }

  Value& set(const Key& key, Value value) {
    if (Value* known = find(key)) return *known = std::move(value);
    if (index_.size() >= most_) {
      index_.erase(order_.front().first);
      order_.pop_front();
    }
    order_.emplace_back(key, std::move(value));
    index_.emplace(key, std::prev(order_.end()));
    return order_.back().second;
  }

  void erase(const Key& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return;
    order_.erase(found->second);
    index_.erase(found);
  }

  [[nodiscard]] bool empty() const { return index_.empty(); }
  [[nodiscard]] std::size_t size() const { return index_.size(); }
  /// What the next new entry displaces; not when empty.
  [[nodiscard]] const std::pair<const Key, Value>& oldest() const { return order_.front(); }
  [[nodiscard]] bool full() const { return index_.size() >= most_; }

 private:
  using Order = std::list<std::pair<const Key, Value>>;  // the least recently used first

  std::size_t most_;
  Order order_;
  std::unordered_map<Key, typename Order::iterator, Hash> index_;
};

}  // namespace shunt
