// SPDX-License-Identifier: GPL-2.0-only
#include "policy/host_index.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <tuple>

namespace shunt {
namespace {

std::uint32_t hash_of(std::string_view name) {
  return static_cast<std::uint32_t>(std::hash<std::string_view>{}(name));
}

std::size_t labels_of(std::string_view name) {
  return static_cast<std::size_t>(std::ranges::count(name, '.')) + 1;
}

}  // namespace

void HostIndex::add(std::string_view name, bool below, std::uint32_t term) {
  items_.push_back({.text = static_cast<std::uint32_t>(texts_.size()),
                    .length = static_cast<std::uint16_t>(name.size()),
                    .below = below,
                    .term = term});
  texts_ += name;
  if (below) most_labels_ = std::max(most_labels_, labels_of(name));
}

std::string_view HostIndex::name_of(const Item& item) const {
  return std::string_view(texts_).substr(item.text, item.length);
}

void HostIndex::build() {
  const auto key = [this](const Item& item) {
    return std::tuple(name_of(item), item.below, item.term);
  };
  std::ranges::sort(items_, {}, key);
  terms_.reserve(items_.size());
  for (const Item& item : items_) take(item);
  items_ = {};
  entries_.shrink_to_fit();
  fill_slots();
}

/// The next of the sorted items.
void HostIndex::take(const Item& item) {
  const auto text_of = [this](const Entry& entry) {
    return std::string_view(texts_).substr(entry.text, entry.length);
  };
  if (entries_.empty() || text_of(entries_.back()) != name_of(item)) {
    entries_.push_back({.text = item.text, .length = item.length, .exact = {}, .below = {}});
  }
  Posting& posting = item.below ? entries_.back().below : entries_.back().exact;
  if (posting.count == 0) posting.first = static_cast<std::uint32_t>(terms_.size());
  if (posting.count != 0 && terms_.back() == item.term) return;
  terms_.push_back(item.term);
  ++posting.count;
}

void HostIndex::fill_slots() {
  slots_.assign(std::bit_ceil(entries_.size() * 2 + 2), Slot{});
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const auto text = std::string_view(texts_).substr(entries_[i].text, entries_[i].length);
    const std::uint32_t hash = hash_of(text);
    std::size_t at = hash & mask;
    while (slots_[at].entry != 0) at = (at + 1) & mask;
    slots_[at] = {.hash = hash, .entry = static_cast<std::uint32_t>(i + 1)};
  }
}

const HostIndex::Entry* HostIndex::entry_of(std::string_view name) const {
  const std::size_t mask = slots_.size() - 1;
  const std::uint32_t hash = hash_of(name);
  for (std::size_t at = hash & mask; slots_[at].entry != 0; at = (at + 1) & mask) {
    if (slots_[at].hash != hash) continue;
    const Entry& entry = entries_[slots_[at].entry - 1];
    if (std::string_view(texts_).substr(entry.text, entry.length) == name) return &entry;
  }
  return nullptr;
}

void HostIndex::append(const Posting& posting, std::vector<std::uint32_t>& terms) const {
  const auto first = terms_.begin() + posting.first;
  terms.insert(terms.end(), first, first + posting.count);
}

/// The terms that mean what lies below one of the domains above `name`.
void HostIndex::find_domains(std::string_view name, std::vector<std::uint32_t>& terms) const {
  std::size_t labels = labels_of(name);
  for (auto dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.')) {
    name.remove_prefix(dot + 1);
    if (--labels > most_labels_) continue;
    if (const Entry* entry = entry_of(name)) append(entry->below, terms);
  }
}

void HostIndex::find(std::string_view name, std::vector<std::uint32_t>& terms) const {
  if (empty()) return;
  if (const Entry* entry = entry_of(name)) append(entry->exact, terms);
  find_domains(name, terms);
}

void HostIndex::find_below(std::string_view name, std::vector<std::uint32_t>& terms) const {
  if (empty()) return;
  if (const Entry* entry = entry_of(name)) append(entry->below, terms);
  find_domains(name, terms);
}

}  // namespace shunt
