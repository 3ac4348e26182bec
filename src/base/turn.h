// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <atomic>

namespace shunt {

/// One of at most so many things of a kind that go on at the same time, for as long as it lives.
/// Any thread.
class Turn {
 public:
  /// `running` counts them, and outlives this.
  Turn(std::atomic<int>& running, int most)
      : running_(running), taken_(running.fetch_add(1, std::memory_order_relaxed) < most) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { running_.fetch_sub(1, std::memory_order_relaxed); }

  /// False: there are as many as there may be, and this is none of them.
  [[nodiscard]] bool taken() const { return taken_; }

 private:
  std::atomic<int>& running_;
  bool taken_;
};

}  // namespace shunt
