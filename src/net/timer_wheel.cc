// SPDX-License-Identifier: GPL-2.0-only
#include "net/timer_wheel.h"

#include <algorithm>

namespace shunt {

TimerWheel::TimerWheel() {
  for (Head& head : buckets_) head.next_ = head.prev_ = &head;
}

void TimerWheel::link(Timer& timer, Tick deadline) {
  Timer& head = buckets_[deadline % kBuckets];
  timer.queued_for_ = deadline;
  look_at_ = std::min(look_at_, deadline);
  timer.next_ = &head;
  timer.prev_ = head.prev_;
  head.prev_->next_ = &timer;
  head.prev_ = &timer;
}

void TimerWheel::arm(Timer& timer, Tick deadline) {
  timer.deadline_ = std::max(deadline, now_ + 1);
  if (timer.armed() && timer.queued_for_ <= timer.deadline_) return;  // moved when it is found
  timer.unlink();
  link(timer, timer.deadline_);
}

// Moves what is due to `expired`, and what was re-armed for later to its own bucket. Expired timers
// are collected before any of them runs: a callback may change the lists. queued_for_ then names no
// bucket, so that arm() takes a timer out of `expired` again.
void TimerWheel::collect(Timer& head, Tick now, Timer& expired) {
  for (Timer* timer = head.next_; timer != &head;) {
    Timer* next = timer->next_;
    if (timer->deadline_ <= now) {
      timer->unlink();
      timer->next_ = &expired;
      timer->prev_ = expired.prev_;
      timer->queued_for_ = kNever;
      expired.prev_->next_ = timer;
      expired.prev_ = timer;
    } else if (timer->queued_for_ <= now) {
      timer->unlink();
      link(*timer, timer->deadline_);
    }
    timer = next;
  }
}

void TimerWheel::run(Timer& expired) {
  while (!empty(expired)) {
    Timer& timer = *expired.next_;
    timer.unlink();
    timer.callback_(timer);
  }
  expired.next_ = nullptr;  // the list head's own destructor must not unlink it from itself
}

void TimerWheel::advance(Tick now) {
  if (now <= now_) return;
  if (now < look_at_) {
    now_ = now;
    return;
  }
  Head expired;
  expired.next_ = expired.prev_ = &expired;
  const Tick last = std::min(now, now_ + kBuckets);  // after a long pause each bucket once
  for (Tick tick = now_ + 1; tick <= last; ++tick) {
    collect(buckets_[tick % kBuckets], now, expired);
  }
  now_ = now;
  look_at_ = kUnknown;
  run(expired);
}

void TimerWheel::fire_all() {
  Head expired;
  expired.next_ = expired.prev_ = &expired;
  for (Head& head : buckets_) collect(head, kNever, expired);
  look_at_ = kUnknown;
  run(expired);
}

Tick TimerWheel::next_tick() {
  if (look_at_ == kUnknown) look_at_ = first_filled();
  return look_at_;
}

Tick TimerWheel::first_filled() const {
  for (Tick offset = 1; offset <= kBuckets; ++offset) {
    if (!empty(buckets_[(now_ + offset) % kBuckets])) return now_ + offset;
  }
  return kNever;
}

}  // namespace shunt
