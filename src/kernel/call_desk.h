// SPDX-License-Identifier: GPL-2.0-only
// Trapped calls on their way from the thread that stops them to the one that decides about them,
// and the answers on their way back.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "kernel/call_source.h"
#include "net/unique_fd.h"

namespace shunt {

struct DeskAnswer {
  std::uint64_t id = 0;
  pid_t thread = 0;
  std::optional<std::int64_t> value =
      {};  ///< of the call, or minus an errno; nothing: it is to run
};

/// Any thread.
class CallDesk {
 public:
  static Result<std::unique_ptr<CallDesk>> create();

  // For who decides.
  /// As CallSource::fd().
  [[nodiscard]] int calls_fd() const { return calls_there_.get(); }
  std::optional<TrappedCall> receive();
  [[nodiscard]] bool waits(std::uint64_t id) const;
  /// False: it waits no more.
  bool answer(std::uint64_t id, std::optional<std::int64_t> value);
  /// Nobody decides any more; answers_fd() becomes readable.
  void stop();

  // For who stops them.
  /// Readable when there are answers, or there will be none.
  [[nodiscard]] int answers_fd() const { return answers_there_.get(); }
  /// Yields the call's id.
  std::uint64_t hand_in(TrappedCall call);
  /// The call waits no more; false: it has an answer already, which is to be taken.
  bool withdraw(std::uint64_t id);
  [[nodiscard]] std::vector<DeskAnswer> take_answers();
  [[nodiscard]] bool stopped() const;
  /// No call comes any more: calls_fd() hangs up.
  void close();

 private:
  CallDesk() = default;
  void wake_stopper() const;

  mutable std::mutex mutex_;
  std::deque<TrappedCall> calls_;
  std::unordered_map<std::uint64_t, pid_t> waiting_;  // received or not
  std::vector<DeskAnswer> answers_;
  std::uint64_t last_id_ = 0;
  bool stopped_ = false;
  UniqueFd calls_there_;    // a pipe, which can hang up
  UniqueFd calls_come_;     // its other end
  UniqueFd answers_there_;  // an eventfd
};

}  // namespace shunt
