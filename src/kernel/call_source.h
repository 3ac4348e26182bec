// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "kernel/waiting_calls.h"

namespace shunt {

struct TrappedCall {
  std::uint64_t id = 0;
  pid_t thread = 0;  ///< as this process's pid namespace numbers it
  int number = 0;    ///< __NR_…
  std::array<std::uint64_t, 6> arguments{};
};

/// Where trapped calls of other programs come from. One thread receives; any may answer.
class CallSource : public WaitingCalls {
 public:
  /// Begins with the calls of `process`, which waits for this and makes none until then, and of all
  /// that come of it. `listener` is what the process has for it, a descriptor of its own or -1.
  /// Once; blocks for less than a millisecond.
  virtual Result<void> take_over(pid_t process, int listener) = 0;
  /// Readable while calls wait to be received, hung up when nobody is left who could make any. -1:
  /// nothing was taken over.
  [[nodiscard]] virtual int fd() const = 0;
  /// The next one, or nothing. Does not block.
  [[nodiscard]] virtual std::optional<TrappedCall> receive() const = 0;
  /// No process is left whose calls come here.
  [[nodiscard]] virtual bool abandoned() const = 0;
};

}  // namespace shunt
