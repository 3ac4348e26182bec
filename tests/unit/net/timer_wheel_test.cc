// SPDX-License-Identifier: GPL-2.0-only
#include "net/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>

namespace shunt {
namespace {

struct Counting : Timer {
  Counting() : Timer([](Timer& timer) { ++static_cast<Counting&>(timer).fired; }) {}
  int fired = 0;
};

void expect_fires_at(TimerWheel& wheel, const Counting& timer, Tick deadline) {
  wheel.advance(deadline - 1);
  EXPECT_EQ(timer.fired, 0);
  wheel.advance(deadline);
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, fires_once_at_its_deadline_and_not_before) {
  TimerWheel wheel;
  Counting timer;
  wheel.arm(timer, 10);
  expect_fires_at(wheel, timer, 10);
  wheel.advance(2000);
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, deadline_beyond_one_turn_waits_for_its_turn) {
  TimerWheel wheel;
  Counting timer;
  wheel.arm(timer, 512 * 3 + 7);
  for (Tick now = 1; now < 512 * 3; ++now) wheel.advance(now);
  expect_fires_at(wheel, timer, 512 * 3 + 7);
}

TEST(TimerWheel, moving_a_deadline_later_replaces_the_earlier_one) {
  TimerWheel wheel;
  Counting timer;
  wheel.arm(timer, 5);
  wheel.arm(timer, 50);
  expect_fires_at(wheel, timer, 50);
}

TEST(TimerWheel, moving_a_deadline_earlier_works_too) {
  TimerWheel wheel;
  Counting timer;
  wheel.arm(timer, 50);
  wheel.arm(timer, 5);
  expect_fires_at(wheel, timer, 5);
}

TEST(TimerWheel, destroyed_and_disarmed_timers_never_fire) {
  TimerWheel wheel;
  Counting disarmed;
  {
    Counting destroyed;
    wheel.arm(destroyed, 3);
    wheel.arm(disarmed, 3);
  }
  wheel.disarm(disarmed);
  wheel.advance(600);
  EXPECT_EQ(disarmed.fired, 0);
  EXPECT_EQ(wheel.next_tick(), TimerWheel::kNever);
}

struct Disarming : Timer {
  Disarming(TimerWheel& the_wheel, Timer& the_victim)
      : Timer([](Timer& timer) {
          auto& self = static_cast<Disarming&>(timer);
          self.wheel.disarm(self.victim);
        }),
        wheel(the_wheel),
        victim(the_victim) {}
  TimerWheel& wheel;
  Timer& victim;
};

TEST(TimerWheel, callback_may_disarm_a_timer_that_is_due_as_well) {
  TimerWheel wheel;
  Counting victim;
  Disarming first(wheel, victim);
  wheel.arm(first, 4);
  wheel.arm(victim, 4);
  wheel.advance(4);
  EXPECT_EQ(victim.fired, 0);
}

struct Postponing : Timer {
  Postponing(TimerWheel& the_wheel, Timer& the_other, Tick the_deadline)
      : Timer([](Timer& timer) {
          auto& self = static_cast<Postponing&>(timer);
          self.wheel.arm(self.other, self.deadline);
        }),
        wheel(the_wheel),
        other(the_other),
        deadline(the_deadline) {}
  TimerWheel& wheel;
  Timer& other;
  Tick deadline;
};

TEST(TimerWheel, callback_may_postpone_a_timer_that_is_due_as_well) {
  TimerWheel wheel;
  Counting other;
  Postponing first(wheel, other, 20);
  wheel.arm(first, 4);
  wheel.arm(other, 4);
  wheel.advance(4);
  EXPECT_EQ(other.fired, 0);
  wheel.advance(20);
  EXPECT_EQ(other.fired, 1);
}

Tick least_after(const std::vector<Tick>& deadlines, Tick now) {
  Tick least = TimerWheel::kNever;
  for (const Tick deadline : deadlines) {
    if (deadline > now) least = std::min(least, deadline);
  }
  return least;
}

TEST(TimerWheel, agrees_with_a_plain_list_on_random_operations) {
  TimerWheel wheel;
  std::mt19937 random(7);
  constexpr int kTimers = 200;
  std::vector<std::unique_ptr<Counting>> timers;
  std::vector<Tick> deadlines(kTimers, TimerWheel::kNever);
  std::vector<int> expected(kTimers, 0);
  for (int i = 0; i < kTimers; ++i) timers.push_back(std::make_unique<Counting>());
  Tick now = 0;
  for (int step = 0; step < 20'000; ++step) {
    const auto i = random() % kTimers;
    if (random() % 4 == 0) {
      wheel.disarm(*timers[i]);
      deadlines[i] = TimerWheel::kNever;
    } else {
      deadlines[i] = now + 1 + random() % 1500;
      wheel.arm(*timers[i], deadlines[i]);
    }
    ASSERT_LE(wheel.next_tick(), *std::ranges::min_element(deadlines)) << "at step " << step;
    if (random() % 3 != 0) continue;
    now += random() % 700;
    wheel.advance(now);
    if (random() % 2 == 0) {  // asked while nobody has been armed since, or not
      ASSERT_LE(wheel.next_tick(), least_after(deadlines, now)) << "at step " << step;
    }
    for (std::size_t j = 0; j < kTimers; ++j) {
      if (deadlines[j] <= now) {
        ++expected[j];
        deadlines[j] = TimerWheel::kNever;
      }
      ASSERT_EQ(timers[j]->fired, expected[j]) << "timer " << j << " at step " << step;
    }
  }
}

TEST(TimerWheel, fire_all_fires_everything_once) {
  TimerWheel wheel;
  Counting near;
  Counting far;
  wheel.arm(near, 1);
  wheel.arm(far, 1'000'000);
  wheel.fire_all();
  EXPECT_EQ(near.fired, 1);
  EXPECT_EQ(far.fired, 1);
  EXPECT_EQ(wheel.next_tick(), TimerWheel::kNever);
}

}  // namespace
}  // namespace shunt
