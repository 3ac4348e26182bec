// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <unordered_map>

#include "kernel/waiting_calls.h"
#include "net/unique_fd.h"

namespace shunt {

/// Calls that a library in a program has handed over, each on a connection of its own: who waits no
/// more has closed it. On one thread.
class PreloadCalls final : public WaitingCalls {
 public:
  /// Takes the connection that is to be answered; yields the call's id.
  std::uint64_t add(UniqueFd connection);

  /// Tells the program, if it waits still, that its call has begun.
  void begun(std::uint64_t id) const;

  [[nodiscard]] bool waits(std::uint64_t id) const override;
  bool finish(std::uint64_t id, std::int64_t value) const override;
  bool fail(std::uint64_t id, int os_error) const override;
  bool let_run(std::uint64_t id) const override;

 private:
  bool answer(std::uint64_t id, std::uint32_t verdict, int os_error) const;

  mutable std::unordered_map<std::uint64_t, UniqueFd> waiting_;
  std::uint64_t last_ = 0;
};

}  // namespace shunt
