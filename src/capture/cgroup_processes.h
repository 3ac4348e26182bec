// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "flow/process_finder.h"
#include "flow/process_names.h"

namespace shunt {

/// Whose a flow is, where the capture itself remembers it (Flow::process): no search, and the
/// answer is right also when the process is gone. Then what only /proc has said is not known.
class CgroupProcesses final : public ProcessNames, public ProcessFinder {
 public:
  std::optional<ProcessInfo> lookup(const Flow& flow) override;
  ProcessFact find(const Flow& flow, Wanted wanted) override;
};

}  // namespace shunt
