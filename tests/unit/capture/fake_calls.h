// SPDX-License-Identifier: GPL-2.0-only
// Calls as a kernel would hand them over, of a program that is this process itself: its memory, its
// sockets and its thread are the test's own.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <type_traits>

#include "kernel/call_trap.h"
#include "kernel/waiting_calls.h"

namespace shunt::test {

/// Any thread.
class FakeCalls final : public WaitingCalls {
 public:
  /// A call that waits from now on.
  template <class... Arguments>
  TrappedCall make(int number, Arguments... arguments) {
    const std::scoped_lock lock(mutex_);
    const TrappedCall call{.id = ++last_,
                           .thread = ::gettid(),
                           .number = number,
                           .arguments = {number_of(arguments)...}};
    waiting_.insert(call.id);
    return call;
  }
  /// The same call, by the same thread, which a signal has called away from it.
  TrappedCall make_again(const TrappedCall& call) {
    const std::scoped_lock lock(mutex_);
    waiting_.erase(call.id);
    TrappedCall again = call;
    again.id = ++last_;
    waiting_.insert(again.id);
    return again;
  }
  /// A signal calls its thread away.
  void leave(const TrappedCall& call) {
    const std::scoped_lock lock(mutex_);
    waiting_.erase(call.id);
  }
  /// A signal does, in the moment between the last look and the answer.
  void leave_unseen(const TrappedCall& call) {
    const std::scoped_lock lock(mutex_);
    deaf_.insert(call.id);
  }

  /// What a call was answered: its value, or minus the errno.
  [[nodiscard]] std::optional<std::int64_t> answer(const TrappedCall& call) const {
    const std::scoped_lock lock(mutex_);
    const auto known = answers_.find(call.id);
    return known == answers_.end() ? std::nullopt : std::optional(known->second);
  }
  [[nodiscard]] bool was_let_run(const TrappedCall& call) const {
    const std::scoped_lock lock(mutex_);
    return let_run_.contains(call.id);
  }

  [[nodiscard]] bool waits(std::uint64_t id) const override {
    const std::scoped_lock lock(mutex_);
    return waiting_.contains(id);
  }
  bool finish(std::uint64_t id, std::int64_t value) const override { return note(id, value); }
  bool fail(std::uint64_t id, int os_error) const override { return note(id, -os_error); }
  bool let_run(std::uint64_t id) const override {
    const std::scoped_lock lock(mutex_);
    let_run_.insert(id);
    return waiting_.erase(id) != 0;
  }

 private:
  template <class T>
  static std::uint64_t number_of(T argument) {
    if constexpr (std::is_pointer_v<T>) {
      return reinterpret_cast<std::uintptr_t>(argument);
    } else {
      return static_cast<std::uint64_t>(argument);
    }
  }
  bool note(std::uint64_t id, std::int64_t value) const {
    const std::scoped_lock lock(mutex_);
    if (waiting_.erase(id) == 0 || deaf_.contains(id)) return false;
    answers_[id] = value;
    return true;
  }

  mutable std::mutex mutex_;
  mutable std::set<std::uint64_t> waiting_;
  mutable std::set<std::uint64_t> let_run_;
  mutable std::map<std::uint64_t, std::int64_t> answers_;
  std::set<std::uint64_t> deaf_;
  std::uint64_t last_ = 0;
};

}  // namespace shunt::test
