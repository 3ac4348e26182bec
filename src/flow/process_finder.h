// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <vector>

#include "flow/facts.h"
#include "flow/flow.h"

namespace shunt {

/// Finds whose a flow is, for a decision about it. Any thread; blocks for what a look into /proc
/// takes, mostly under a millisecond.
class ProcessFinder {
 public:
  enum class Wanted : std::uint8_t {
    owner,  ///< uid at least
    all,
  };
  virtual ~ProcessFinder() = default;
  /// Its state is never unknown: a flow that is not this machine's has no process.
  virtual ProcessFact find(const Flow& flow, Wanted wanted) = 0;
  /// What find() needs to be open in the caller's table (base/descriptor_table.h).
  [[nodiscard]] virtual std::vector<int> descriptors() const { return {}; }
};

}  // namespace shunt
