// SPDX-License-Identifier: GPL-2.0-only
#include "base/descriptor_table.h"

#include <linux/close_range.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace shunt {

Result<void> DescriptorTable::leave(std::vector<int> kept) {
  static std::atomic<std::uint32_t> last = 0;
  kept.insert(kept.end(), {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO});
  std::ranges::sort(kept);
  unsigned flags = CLOSE_RANGE_UNSHARE;
  unsigned next = 0;
  const auto close_up_to = [&](unsigned end) {
    if (next < end && ::close_range(next, end - 1, static_cast<int>(flags)) != 0) return false;
    if (next < end) flags = 0;
    next = end + 1;
    return true;
  };
  for (const int fd : kept) {
    const auto number = static_cast<unsigned>(fd);
    if (fd >= 0 && number >= next && !close_up_to(number)) {
      return Failure(errno_error("a table of descriptors for a thread"));
    }
  }
  if (::close_range(next, ~0U, static_cast<int>(flags)) != 0) {
    return Failure(errno_error("a table of descriptors for a thread"));
  }
  current_ = ++last;
  return {};
}

}  // namespace shunt
