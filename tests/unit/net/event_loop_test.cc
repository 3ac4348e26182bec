// SPDX-License-Identifier: GPL-2.0-only
#include "net/event_loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

#include "net/watched_fd.h"
#include "unit/support/loop_thread.h"

namespace shunt {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::LoopThread;

struct Ends {
  Ends() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    near = UniqueFd(fds[0]);
    far = UniqueFd(fds[1]);
  }
  UniqueFd near;
  UniqueFd far;
};

Task<Wake> await_readable(EventLoop& loop, UniqueFd fd, std::uint32_t ms) {
  auto watched = *WatchedFd::create(loop, std::move(fd), 0);
  co_return co_await loop.readable(watched.slot(), ms);
}

Task<Wake> nap(EventLoop& loop, std::uint32_t ms) { co_return co_await loop.sleep(ms); }

TEST(EventLoop, longest_deadline_is_far_away) {
  const auto loop = *EventLoop::create();
  EXPECT_GE(loop->in(0xffff'ffff), loop->now_tick() + 0xffff'ffff / kTickMs);
}

TEST(EventLoop, data_wakes_the_reader) {
  LoopThread thread;
  Ends ends;
  auto woken = thread.start<Wake>(
      [&] { return await_readable(thread.loop(), std::move(ends.far), 10'000); });
  ASSERT_EQ(::write(ends.near.get(), "x", 1), 1);
  EXPECT_EQ(woken.get(), Wake::ready);
}

TEST(EventLoop, deadline_is_not_early_and_at_most_three_ticks_late) {
  LoopThread thread;
  for (const std::uint32_t ms : {0U, 1U, 63U, 64U, 65U, 300U}) {
    Ends ends;
    const auto start = steady_clock::now();
    auto woken =
        thread.start<Wake>([&] { return await_readable(thread.loop(), std::move(ends.far), ms); });
    EXPECT_EQ(woken.get(), Wake::timeout);
    const auto took = steady_clock::now() - start;
    EXPECT_GE(took, milliseconds(ms));
    EXPECT_LE(took, milliseconds(ms + kTickMs + 100)) << "asked for " << ms;
  }
}

TEST(EventLoop, sleepers_far_apart_each_wake_in_time) {
  LoopThread thread;
  auto late = thread.start<Wake>([&] { return nap(thread.loop(), 500); });
  auto early = thread.start<Wake>([&] { return nap(thread.loop(), 80); });
  EXPECT_EQ(early.wait_for(milliseconds(400)), std::future_status::ready);
  EXPECT_NE(late.wait_for(milliseconds(0)), std::future_status::ready);
  EXPECT_EQ(late.wait_for(milliseconds(5000)), std::future_status::ready);
}

TEST(EventLoop, cancel_all_wakes_waiters_and_refuses_new_ones) {
  LoopThread thread;
  Ends ends;
  auto waiting = thread.start<Wake>(
      [&] { return await_readable(thread.loop(), std::move(ends.far), 60'000); });
  auto sleeping = thread.start<Wake>([&] { return nap(thread.loop(), 60'000); });
  thread.loop().post([&] { thread.loop().cancel_all(); });
  EXPECT_EQ(waiting.get(), Wake::cancelled);
  EXPECT_EQ(sleeping.get(), Wake::cancelled);
  Ends later;
  auto refused = thread.start<Wake>(
      [&] { return await_readable(thread.loop(), std::move(later.far), 60'000); });
  EXPECT_EQ(refused.get(), Wake::cancelled);
}

// A descriptor that is closed and reused within one batch of events must not get the old one's.
Task<Wake> reuse_number(EventLoop& loop, UniqueFd readable_fd) {
  const int number = readable_fd.get();
  auto first = *WatchedFd::create(loop, std::move(readable_fd), 0);
  (void)co_await loop.readable(first.slot(), 10'000);
  first.reset();
  Ends ends;
  UniqueFd& reused = ends.near.get() == number ? ends.near : ends.far;
  EXPECT_EQ(reused.get(), number);
  auto second = *WatchedFd::create(loop, std::move(reused), 0);
  co_return co_await loop.readable(second.slot(), 150);
}

TEST(EventLoop, event_of_a_closed_descriptor_does_not_reach_its_successor) {
  LoopThread thread;
  Ends ends;
  ASSERT_EQ(::write(ends.near.get(), "x", 1), 1);
  auto woken = thread.start<Wake>([&] { return reuse_number(thread.loop(), std::move(ends.far)); });
  EXPECT_EQ(woken.get(), Wake::timeout);
}

Task<int> add_up(EventLoop& loop, int rounds) {
  int sum = 0;
  for (int i = 0; i < rounds; ++i) {
    (void)co_await loop.yield();
    ++sum;
  }
  co_return sum;
}

Task<> add_to(EventLoop& loop, int rounds, int& sum) { sum += co_await add_up(loop, rounds); }

Task<int> side_by_side(EventLoop& loop) {
  int sum = 0;
  co_await both(add_to(loop, 10, sum), add_to(loop, 1000, sum));
  co_await both(add_to(loop, 0, sum), add_to(loop, 0, sum));
  co_return sum;
}

struct Companies {
  Company before;
  Company after_a_wake;
  Company later;
  Company much_later;
};

Task<Companies> look_for_company(EventLoop& loop, Ends first, Ends second) {
  auto early = *WatchedFd::create(loop, std::move(first.far), 0);
  auto late = *WatchedFd::create(loop, std::move(second.far), 0);
  Companies seen{};
  seen.before = loop.company();
  (void)::write(first.near.get(), "x", 1);
  (void)co_await loop.readable(early.slot());
  (void)::write(second.near.get(), "x", 1);
  (void)co_await loop.readable(late.slot());
  seen.after_a_wake = loop.company();
  (void)co_await loop.sleep(10);
  seen.later = loop.company();
  (void)co_await loop.sleep(300);
  seen.much_later = loop.company();
  co_return seen;
}

TEST(EventLoop, who_was_woken_and_does_not_yield_is_company_for_a_while) {
  LoopThread thread;
  Ends first;
  Ends second;
  auto looked = thread.start<Companies>(
      [&] { return look_for_company(thread.loop(), std::move(first), std::move(second)); });
  const Companies seen = looked.get();
  EXPECT_EQ(seen.before, Company::none);
  EXPECT_NE(seen.after_a_wake, Company::none);
  EXPECT_NE(seen.later, Company::now);
  EXPECT_EQ(seen.much_later, Company::none);
}

TEST(EventLoop, both_waits_for_the_slower_of_two_tasks) {
  LoopThread thread;
  auto sum = thread.start<int>([&] { return side_by_side(thread.loop()); });
  EXPECT_EQ(sum.get(), 1010);
}

}  // namespace
}  // namespace shunt
