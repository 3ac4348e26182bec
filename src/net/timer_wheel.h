// SPDX-License-Identifier: GPL-2.0-only
// A hashed timing wheel: 512 buckets of one 32 ms tick. Arming and disarming are O(1); a deadline
// further away than one turn (16.4 s) stays in its bucket and is passed over once a turn. Moving a
// deadline later is a single store: the timer is found in its old bucket and put where it belongs.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace shunt {

using Tick = std::uint64_t;
inline constexpr std::uint32_t kTickMs = 32;

/// Embedded in what waits; disarms itself when destroyed. Not movable: the wheel points at it.
class Timer {
 public:
  using Callback = void (*)(Timer&);
  explicit Timer(Callback callback) : callback_(callback) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { unlink(); }

  [[nodiscard]] bool armed() const { return next_ != nullptr; }

 private:
  friend class TimerWheel;
  void unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

  Timer* next_ = nullptr;
  Timer* prev_ = nullptr;
  Callback callback_;
  Tick deadline_ = 0;
  Tick queued_for_ = 0;
};

class TimerWheel {
 public:
  TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Fires once `now` of advance() reaches `deadline`; replaces an earlier arming.
  void arm(Timer& timer, Tick deadline);
  void disarm(Timer& timer) { timer.unlink(); }

  /// Runs every timer whose deadline is <= now. A callback may arm and disarm any timer.
  void advance(Tick now);
  /// Disarms and runs every timer, whatever its deadline.
  void fire_all();

  static constexpr Tick kNever = std::numeric_limits<Tick>::max();
  /// No bucket needs a look before this tick; kNever when nothing was armed since the last look. It
  /// may be early after a disarm(). O(buckets) once for each advance() that found something to do,
  /// else O(1).
  [[nodiscard]] Tick next_tick();

 private:
  static constexpr std::size_t kBuckets = 512;
  static constexpr Tick kUnknown = 0;
  struct Head : Timer {
    Head() : Timer(nullptr) {}
  };
  static bool empty(const Timer& head) { return head.next_ == &head; }
  void link(Timer& timer, Tick deadline);
  [[nodiscard]] Tick first_filled() const;
  void collect(Timer& head, Tick now, Timer& expired);
  static void run(Timer& expired);

  std::array<Head, kBuckets> buckets_;
  Tick now_ = 0;
  Tick look_at_ = kNever;  // next_tick(), or kUnknown
};

}  // namespace shunt
