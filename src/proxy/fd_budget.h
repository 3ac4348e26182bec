// SPDX-License-Identifier: GPL-2.0-only
// The file descriptors of a table (base/descriptor_table.h), shared out so that running short of
// them is a planned state: new flows wait in the listen backlog, bulk flows copy instead of
// splicing, UDP gives up its oldest sessions, and nothing ever spins on EMFILE.
#pragma once

#include <atomic>
#include <cstddef>

#include "relay/pipe_pool.h"

namespace shunt {

/// What RLIMIT_NOFILE leaves beside the descriptors that are open now in the calling thread's
/// table, `about_to_open` and a small reserve. Never less than two flows need.
int spare_descriptors(int about_to_open);

class FdBudget final : public FdAllowance {
 public:
  explicit FdBudget(int descriptors) : total_(descriptors), free_(descriptors) {}

  /// All or nothing.
  bool take(int count);
  void give_back(int count) override;
  /// Pipes are a luxury: they leave at least a tenth of the budget to flows.
  bool take_for_pipe(int count) override;
  /// UDP sessions may hold at most a quarter.
  bool take_for_udp(int count);
  void give_back_udp(int count);

  /// How many TCP flows fit when nothing else is held.
  [[nodiscard]] int flow_capacity() const;

 private:
  int total_;
  std::atomic<int> free_;
  std::atomic<int> udp_held_ = 0;
};

}  // namespace shunt
