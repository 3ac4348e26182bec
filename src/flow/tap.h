// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "flow/flow.h"

namespace shunt {

/// Watches the bytes of one flow as the relay passes them on. A tap never changes or delays them,
/// keeps bounded memory, and says how much it need not see, so that bulk can be spliced. The one
/// thing it may do to a flow is to end it (objects()).
class Tap {
 public:
  static constexpr std::uint64_t kEverything = std::numeric_limits<std::uint64_t>::max();

  virtual ~Tap() = default;
  /// These bytes came from `side`, in order, and are about to be sent on.
  virtual void observe(Side side, std::string_view bytes) = 0;
  /// Asked after observe(): what was just shown must not be sent on, and the flow ends.
  [[nodiscard]] virtual bool objects() const { return false; }
  /// `count` bytes from `side` passed unseen; never more than uninteresting(side) said.
  virtual void skip(Side side, std::uint64_t count) = 0;
  /// How many of the next bytes from `side` need not be shown; kEverything: none ever again.
  [[nodiscard]] virtual std::uint64_t uninteresting(Side side) const = 0;
  /// `side` sent its FIN.
  virtual void end(Side side) = 0;
  /// The flow is over, however it ended: reports what was cut short. Call it before
  /// FlowLog::flow_end; no other call may follow.
  virtual void finish() {}
};

}  // namespace shunt
