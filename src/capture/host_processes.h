// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "base/result.h"
#include "capture/namespace_processes.h"
#include "kernel/sock_diag.h"

namespace shunt {

/// Whose the flows of this machine itself are (`gateway --host`). The owner is known from sock_diag
/// alone; the rest takes a look at the descriptors of all processes for each new socket, which on a
/// busy machine takes milliseconds.
class HostProcesses final : public ProcessFinder {
 public:
  static Result<std::unique_ptr<HostProcesses>> create();
  ProcessFact find(const Flow& flow, Wanted wanted) override;
  [[nodiscard]] std::vector<int> descriptors() const override;

 private:
  HostProcesses(UniqueFd netns, UniqueFd diag, UniqueFd processes_diag);
  std::mutex mutex_;
  UniqueFd netns_;
  SockDiag diag_;  // with mutex_
  NamespaceProcesses processes_;
};

}  // namespace shunt
