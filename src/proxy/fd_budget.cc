// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/fd_budget.h"

#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/limits.h"

namespace shunt {
namespace {

int open_descriptors() {
  DIR* directory = ::opendir("/proc/thread-self/fd");
  if (directory == nullptr) return 0;
  int count = 0;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count - 3;  // ".", ".." and the directory itself
}

}  // namespace

int spare_descriptors(int about_to_open) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const auto limit = static_cast<int>(std::min<rlim_t>(files.rlim_cur, 1U << 24));
  return std::max(limit - open_descriptors() - about_to_open - limits::kReservedFds,
                  2 * limits::kFdsPerFlow);
}

bool FdBudget::take(int count) {
  if (free_.fetch_sub(count, std::memory_order_relaxed) >= count) return true;
  free_.fetch_add(count, std::memory_order_relaxed);
  return false;
}

void FdBudget::give_back(int count) { free_.fetch_add(count, std::memory_order_relaxed); }

bool FdBudget::take_for_pipe(int count) {
  if (free_.load(std::memory_order_relaxed) - count < total_ / 10) return false;
  return take(count);
}

bool FdBudget::take_for_udp(int count) {
  if (udp_held_.fetch_add(count, std::memory_order_relaxed) + count <= total_ / 4) {
    if (take(count)) return true;
  }
  udp_held_.fetch_sub(count, std::memory_order_relaxed);
  return false;
}

void FdBudget::give_back_udp(int count) {
  udp_held_.fetch_sub(count, std::memory_order_relaxed);
  give_back(count);
}

int FdBudget::flow_capacity() const { return total_ / limits::kFdsPerFlow; }

}  // namespace shunt
