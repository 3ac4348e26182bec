// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shunt {

/// From host names to the terms that name them: a hash table of names, asked once for the name
/// itself and once for each domain above it, however many names there are. Immutable once built;
/// any thread.
class HostIndex {
 public:
  /// `below`: the term means what lies below `name`, not the name itself. Lower case, without a
  /// final dot. Call build() after the last.
  void add(std::string_view name, bool below, std::uint32_t term);
  void build();

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  /// Appends the terms that mean `name`, in no order, perhaps twice.
  void find(std::string_view name, std::vector<std::uint32_t>& terms) const;
  /// Appends the terms that mean everything below `name`.
  void find_below(std::string_view name, std::vector<std::uint32_t>& terms) const;

 private:
  struct Item {
    std::uint32_t text = 0;
    std::uint16_t length = 0;
    bool below = false;
    std::uint32_t term = 0;
  };
  struct Posting {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  struct Entry {
    std::uint32_t text = 0;
    std::uint16_t length = 0;
    Posting exact;
    Posting below;
  };
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t entry = 0;  // from 1; 0: free
  };

  [[nodiscard]] std::string_view name_of(const Item& item) const;
  [[nodiscard]] const Entry* entry_of(std::string_view name) const;
  void find_domains(std::string_view name, std::vector<std::uint32_t>& terms) const;
  void append(const Posting& posting, std::vector<std::uint32_t>& terms) const;
  void take(const Item& item);
  void fill_slots();

  std::string texts_;
  std::vector<Item> items_;  // until build()
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> terms_;  // of all postings
  std::vector<Slot> slots_;           // a power of two, at most half full; linear probing
  std::size_t most_labels_ = 0;       // of a domain: longer ones need not be asked for
};

}  // namespace shunt
