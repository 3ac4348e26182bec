// SPDX-License-Identifier: GPL-2.0-only
#include "capture/repeated_calls.h"

#include <chrono>

#include "base/counters.h"

namespace shunt {
namespace {

bool is_same(const TrappedCall& one, const TrappedCall& other) {
  return one.number == other.number && one.arguments == other.arguments;
}

}  // namespace

// Where a library hands calls over, "thread" is a process, of which several calls may wait at once.
// Those are known apart by their waiting still.
RepeatedCalls::Wait::Wait(RepeatedCalls& calls, EventLoop& loop, const TrappedCall& call,
                          std::uint64_t cookie)
    : calls_(calls), loop_(loop), call_(call), cookie_(cookie) {
  Wait*& known = calls_.waits_[call.thread];
  if (known != nullptr) {
    if (calls_.calls_.waits(known->call_.id)) return;
    known->replaced_ = true;
    known->wake();
  }
  known = this;
}

RepeatedCalls::Wait::~Wait() {
  const auto known = calls_.waits_.find(call_.thread);
  if (known != calls_.waits_.end() && known->second == this) calls_.waits_.erase(known);
}

void RepeatedCalls::Wait::wake() const {
  if (slot_ != nullptr) loop_.cancel(*slot_);
}

bool RepeatedCalls::Wait::is_over() {
  if (replaced_) return true;
  if (calls_.calls_.waits(call_.id)) return false;
  if (away_ != call_.id) {  // its signal handler may run now, and the call come again
    away_ = call_.id;
    away_until_ = loop_.in(limits::kCallAwayMs);
  }
  return loop_.now_tick() >= away_until_;
}

/// The same call, whose thread was called away from it; null: there is none.
RepeatedCalls::Wait* RepeatedCalls::left(const TrappedCall& call, std::uint64_t cookie) const {
  const auto known = waits_.find(call.thread);
  if (known == waits_.end()) return nullptr;
  Wait* const wait = known->second;
  const bool same = wait->cookie_ == cookie && is_same(wait->call_, call);
  return same && !calls_.waits(wait->call_.id) ? wait : nullptr;
}

bool RepeatedCalls::join(const TrappedCall& call, std::uint64_t cookie) {
  Wait* const wait = left(call, cookie);
  if (wait == nullptr) return false;
  wait->call_.id = call.id;
  wait->wake();
  return true;
}

std::optional<RepeatedCalls::Done> RepeatedCalls::under_way(const TrappedCall& call,
                                                            std::uint64_t cookie) const {
  const Wait* const wait = left(call, cookie);
  return wait == nullptr ? std::nullopt : std::optional(wait->done_);
}

void RepeatedCalls::keep(const TrappedCall& call, std::uint64_t cookie, const Done& done) {
  const auto now = Clock::now();
  const auto until = now + std::chrono::milliseconds(limits::kCallRepeatMs);
  const bool displaces = done_.full() && done_.find(call.thread) == nullptr;
  if (displaces && now < done_.oldest().second.until) count(Counter::call_results_lost);
  done_.set(call.thread, {.call = call, .cookie = cookie, .done = done, .until = until});
}

std::optional<RepeatedCalls::Done> RepeatedCalls::take(const TrappedCall& call,
                                                       std::uint64_t cookie) {
  const Kept* const known = done_.find(call.thread);
  if (known == nullptr || known->cookie != cookie || !is_same(known->call, call)) {
    return std::nullopt;
  }
  const Kept kept = *known;
  done_.erase(call.thread);
  return Clock::now() < kept.until ? std::optional(kept.done) : std::nullopt;
}

}  // namespace shunt
