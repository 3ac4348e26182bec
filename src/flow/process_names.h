// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "flow/flow.h"

namespace shunt {

struct ProcessInfo {
  std::string name;  ///< the program's own choice (prctl): escape before printing
  pid_t pid = 0;
};

/// Finds the process behind a captured flow. Called on the log's thread, once a flow, as soon as
/// the flow is known to it; may take a millisecond. The socket may be gone already.
class ProcessNames {
 public:
  virtual ~ProcessNames() = default;
  virtual std::optional<ProcessInfo> lookup(const Flow& flow) = 0;
};

}  // namespace shunt
