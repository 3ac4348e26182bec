// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/table_marks.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error_numbers.h"

namespace shunt {

std::uint32_t choose_table_mask(std::uint32_t used_bits) {
  for (const unsigned width : {8U, 4U, 2U, 1U}) {  // as choose_marks() does
    const std::uint32_t field = (1U << width) - 1;
    for (int shift = 32 - static_cast<int>(width); shift >= 0; --shift) {
      const std::uint32_t mask = field << shift;
      if ((mask & used_bits) == 0) return mask;
    }
  }
  return 0;
}

std::uint32_t TableMarks::free_mark() const {
  const std::uint32_t lowest = mask_ & (~mask_ + 1);
  for (std::uint64_t mark = lowest; mark != 0 && mark <= mask_; mark += lowest) {
    const auto value = static_cast<std::uint32_t>(mark);
    if (std::ranges::none_of(marks_, [=](const auto& entry) { return entry.second == value; })) {
      return value;
    }
  }
  return 0;
}

Result<void> TableMarks::assign(std::span<const std::uint32_t> tables) {
  TableMarks next = *this;
  for (const std::uint32_t table : tables) {
    if (next.marks_.contains(table)) continue;
    const std::uint32_t mark = next.free_mark();
    if (mark == 0) {
      return Failure(make_error(
          Kind::conflict, error_number::kNoTableMark,
          mask_ == 0
              ? "no bit of the packet mark is free for `table` of a way out"
              : fmt::format("the free bits of the packet mark ({:#010x}) are too few for {} tables",
                            mask_, tables.size()),
          "nft list ruleset, ip rule: who uses masks so wide?"));
    }
    next.marks_.emplace(table, mark);
  }
  *this = std::move(next);
  return {};
}

void TableMarks::keep_only(std::span<const std::uint32_t> tables) {
  std::erase_if(marks_, [&](const auto& entry) {
    return std::ranges::find(tables, entry.first) == tables.end();
  });
}

std::uint32_t TableMarks::of(std::uint32_t table) const {
  const auto found = marks_.find(table);
  return found == marks_.end() ? 0 : found->second;
}

std::vector<RuleSpec> TableMarks::rules(std::span<const std::uint32_t> tables,
                                        std::span<const Family> families,
                                        std::uint32_t priority) const {
  std::vector<RuleSpec> out;
  for (const Family family : families) {
    for (const std::uint32_t table : tables) {
      const std::uint32_t mark = of(table);
      if (mark == 0) continue;
      // First what stops, then what lets through: a packet in between does not leave elsewhere.
      out.push_back({.family = family,
                     .priority = priority + 1,
                     .mark = mark,
                     .mask = mask_,
                     .action = RuleAction::unreachable});
      out.push_back(
          {.family = family, .priority = priority, .mark = mark, .mask = mask_, .table = table});
    }
  }
  return out;
}

}  // namespace shunt
