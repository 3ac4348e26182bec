// SPDX-License-Identifier: GPL-2.0-only
// Threads with tables of descriptors of their own. RLIMIT_NOFILE bounds a table, not a process, so
// workers that have one each hold as many flows each; and a call that a table's only thread makes
// finds its descriptor without counting its users (fdget(), fs/file.c).
//
// A number means nothing in another thread's table. UniqueFd (net/unique_fd.h) knows whose it is
// and closes nothing elsewhere; what all threads are to use must be open before the tables part and
// be kept in each.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace shunt {

class DescriptorTable {
 public:
  /// The calling thread's; 0 is the one that the process began with.
  [[nodiscard]] static std::uint32_t current() { return current_; }
  /// Gives the calling thread a copy of its table with 0, 1, 2 and `kept` alone (close_range(2),
  /// CLOSE_RANGE_UNSHARE: Linux 5.9). When it fails the thread has the table that it had.
  static Result<void> leave(std::vector<int> kept);
  /// For a new thread, which shares the table of the one that started it.
  static void begin_with(std::uint32_t table) { current_ = table; }

 private:
  inline static constinit thread_local std::uint32_t current_ = 0;
};

}  // namespace shunt
