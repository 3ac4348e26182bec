// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

#include "flow/admission.h"
#include "proxy/fd_budget.h"
#include "proxy/serve.h"

namespace shunt {

/// The one gate through which a worker's TCP flows start: it counts them, and closes on shutdown.
/// Belongs to the worker's thread; live() may be asked from any.
class FlowSet {
 public:
  FlowSet(ServeContext context, FdBudget& budget) : context_(context), budget_(budget) {}

  /// Starts a flow whose limits::kFdsPerFlow descriptors were taken from the budget already; they
  /// are given back when it ends. Refused with a reset once close() was called.
  void start(Captured captured);
  void close() { open_ = false; }
  [[nodiscard]] std::size_t live() const { return live_.load(std::memory_order_relaxed); }
  /// Called whenever a flow has ended.
  std::move_only_function<void()> on_end = [] {};

 private:
  Task<> run(Captured captured);

  ServeContext context_;
  FdBudget& budget_;
  std::atomic<std::size_t> live_ = 0;
  bool open_ = true;
};

}  // namespace shunt
