// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace shunt {

/// Calls of programs that wait for this process to answer them, each known by its id.
class WaitingCalls {
 public:
  virtual ~WaitingCalls() = default;
  /// Whether the call waits still: its thread was not killed, nor called away by a signal.
  [[nodiscard]] virtual bool waits(std::uint64_t id) const = 0;
  /// These end the wait; false when nobody waits any more.
  virtual bool finish(std::uint64_t id, std::int64_t value) const = 0;
  virtual bool fail(std::uint64_t id, int os_error) const = 0;
  /// The program's call is done with the arguments that it has, by whoever would do it otherwise.
  virtual bool let_run(std::uint64_t id) const = 0;
};

}  // namespace shunt
