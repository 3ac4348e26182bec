// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "net/unique_fd.h"

namespace shunt {

/// Two descriptors and up to limits::kPipeBytes of kernel memory while it holds data.
struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

/// Decides whether a worker may open more descriptors (proxy/fd_budget.h). Thread-safe.
class FdAllowance {
 public:
  virtual ~FdAllowance() = default;
  virtual bool take_for_pipe(int count) = 0;
  virtual void give_back(int count) = 0;
};

/// Empty pipes of one worker, made when first needed and kept for reuse.
class PipePool {
 public:
  explicit PipePool(FdAllowance& allowance) : allowance_(allowance) {}
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;
  ~PipePool() { shrink(); }

  /// Nothing when descriptors are short: the caller then copies instead.
  std::optional<Pipe> take();
  /// The pipe must be empty; one that is not must go to discard().
  void put(Pipe pipe);
  void discard(Pipe pipe);
  /// Closes the idle pipes, so that their descriptors can serve flows.
  void shrink();

 private:
  FdAllowance& allowance_;
  std::vector<Pipe> idle_;
};

}  // namespace shunt
