// SPDX-License-Identifier: GPL-2.0-only
// Marks that lead to routing tables of the user's, for `table` of ways out: each table has a value
// of its own in a part of the packet mark that is shunt's (Allotment::table_mask), shunt's sockets
// bear it, and two rules act on it:
//
//   ip rule add pref P   fwmark V/M lookup TABLE
//   ip rule add pref P+1 fwmark V/M unreachable
//
// The second because a table without a matching route is passed over, and the connection would then
// leave by the main table: by another path than the one asked for.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernel/policy_route.h"

namespace shunt {

/// Bits that do not meet `used_bits`: eight in a row, or four, two, one; 0 where none is free.
[[nodiscard]] std::uint32_t choose_table_mask(std::uint32_t used_bits);

class TableMarks {
 public:
  TableMarks() = default;
  explicit TableMarks(std::uint32_t mask) : mask_(mask) {}

  /// Gives each of the tables a mark; those that have one keep it. All or nothing: Kind::conflict
  /// where the mask has too few values.
  Result<void> assign(std::span<const std::uint32_t> tables);
  /// Takes the marks of all other tables back.
  void keep_only(std::span<const std::uint32_t> tables);
  /// 0: it has none.
  [[nodiscard]] std::uint32_t of(std::uint32_t table) const;
  /// The bits that are taken: 0 while no table has a mark.
  [[nodiscard]] std::uint32_t bits_in_use() const { return marks_.empty() ? 0 : mask_; }
  [[nodiscard]] const std::map<std::uint32_t, std::uint32_t>& by_table() const { return marks_; }

  /// Of the tables that have a mark, at `priority` and the next one.
  [[nodiscard]] std::vector<RuleSpec> rules(std::span<const std::uint32_t> tables,
                                            std::span<const Family> families,
                                            std::uint32_t priority) const;

 private:
  /// 0: all are taken.
  [[nodiscard]] std::uint32_t free_mark() const;

  std::uint32_t mask_ = 0;
  std::map<std::uint32_t, std::uint32_t> marks_;  // by table
};

}  // namespace shunt
