// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/call_desk.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace shunt {

Result<std::unique_ptr<CallDesk>> CallDesk::create() {
  std::unique_ptr<CallDesk> desk(new CallDesk);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return Failure(errno_error("pipe"));
  desk->calls_there_ = UniqueFd(ends[0]);
  desk->calls_come_ = UniqueFd(ends[1]);
  desk->answers_there_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!desk->answers_there_.valid()) return Failure(errno_error("eventfd"));
  return desk;
}

std::optional<TrappedCall> CallDesk::receive() {
  const std::scoped_lock lock(mutex_);
  while (!calls_.empty()) {
    const TrappedCall call = calls_.front();
    calls_.pop_front();
    if (waiting_.contains(call.id)) return call;
  }
  std::array<char, 64> said{};
  while (::read(calls_there_.get(), said.data(), said.size()) > 0) {
  }
  return std::nullopt;
}

bool CallDesk::waits(std::uint64_t id) const {
  const std::scoped_lock lock(mutex_);
  return waiting_.contains(id);
}

bool CallDesk::answer(std::uint64_t id, std::optional<std::int64_t> value) {
  const std::scoped_lock lock(mutex_);
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return false;
  answers_.push_back({.id = id, .thread = found->second, .value = value});
  waiting_.erase(found);
  wake_stopper();
  return true;
}

void CallDesk::stop() {
  const std::scoped_lock lock(mutex_);
  stopped_ = true;
  wake_stopper();
}

std::uint64_t CallDesk::hand_in(TrappedCall call) {
  const std::scoped_lock lock(mutex_);
  call.id = ++last_id_;
  const bool first = calls_.empty();
  calls_.push_back(call);
  waiting_.emplace(call.id, call.thread);
  // Who receives goes on until nothing is left, so it is told of the first one only.
  constexpr char kOne = 1;
  if (first) [[maybe_unused]]
    const auto ignored = ::write(calls_come_.get(), &kOne, 1);
  return call.id;
}

bool CallDesk::withdraw(std::uint64_t id) {
  const std::scoped_lock lock(mutex_);
  return waiting_.erase(id) != 0;
}

std::vector<DeskAnswer> CallDesk::take_answers() {
  const std::scoped_lock lock(mutex_);
  std::uint64_t count = 0;
  [[maybe_unused]] const auto ignored = ::read(answers_there_.get(), &count, sizeof count);
  return std::exchange(answers_, {});
}

bool CallDesk::stopped() const {
  const std::scoped_lock lock(mutex_);
  return stopped_;
}

void CallDesk::close() {
  const std::scoped_lock lock(mutex_);
  calls_.clear();
  waiting_.clear();
  calls_come_.reset();
}

void CallDesk::wake_stopper() const {
  constexpr std::uint64_t kOne = 1;
  [[maybe_unused]] const auto ignored = ::write(answers_there_.get(), &kOne, sizeof kOne);
}

}  // namespace shunt
