// SPDX-License-Identifier: GPL-2.0-only
#include "capture/repeated_calls.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <memory>
#include <vector>

#include "net/task.h"
#include "net/unique_fd.h"
#include "unit/capture/fake_calls.h"

namespace shunt {
namespace {

constexpr std::uint64_t kSocket = 7;
constexpr std::uint64_t kOtherSocket = 8;

class RepeatedCallsTest : public testing::Test {
 protected:
  RepeatedCalls::Wait wait(const TrappedCall& call) { return {repeated_, *loop_, call, kSocket}; }

  test::FakeCalls calls_;
  RepeatedCalls repeated_{calls_};
  std::unique_ptr<EventLoop> loop_ = std::move(EventLoop::create()).value();
};

TEST_F(RepeatedCallsTest, the_same_call_goes_on_for_the_one_that_was_left) {
  const auto first = calls_.make(SYS_recvfrom, 3, 4096);
  auto waiting = wait(first);
  const auto again = calls_.make_again(first);
  EXPECT_TRUE(repeated_.join(again, kSocket));
  EXPECT_EQ(waiting.call().id, again.id);
  EXPECT_FALSE(waiting.is_over());
}

TEST_F(RepeatedCallsTest, another_call_is_not_the_same) {
  const auto first = calls_.make(SYS_recvfrom, 3, 4096);
  const auto waiting = wait(first);
  const auto again = calls_.make_again(first);
  EXPECT_FALSE(repeated_.join(again, kOtherSocket));
  EXPECT_FALSE(repeated_.join(calls_.make(SYS_recvfrom, 3, 4097), kSocket));
  EXPECT_FALSE(repeated_.join(calls_.make(SYS_recvmsg, 3, 4096), kSocket));
}

// Where a library hands calls over, "thread" is a process.
TEST_F(RepeatedCallsTest, a_call_that_waits_still_is_somebody_elses) {
  const auto first = calls_.make(SYS_connect, 3, 4096);
  auto waiting = wait(first);
  const auto second = calls_.make(SYS_connect, 3, 4096);
  EXPECT_FALSE(repeated_.join(second, kSocket));
  {
    auto beside = wait(second);
    EXPECT_FALSE(waiting.is_over());
    EXPECT_FALSE(beside.is_over());
  }
  EXPECT_TRUE(repeated_.join(calls_.make_again(first), kSocket));
}

TEST_F(RepeatedCallsTest, a_threads_next_wait_ends_its_last) {
  const auto first = calls_.make(SYS_recvfrom, 3, 4096);
  auto waiting = wait(first);
  calls_.leave(first);
  EXPECT_FALSE(waiting.is_over());  // its handler may run still, and the call come again
  const auto other = calls_.make(SYS_recvfrom, 4, 4096);
  auto next = wait(other);
  EXPECT_TRUE(waiting.is_over());
  EXPECT_FALSE(next.is_over());
  EXPECT_EQ(repeated_.waits(), 1U);
}

TEST_F(RepeatedCallsTest, what_is_done_so_far_is_said_of_the_same_call_alone) {
  const auto first = calls_.make(SYS_sendmmsg, 3, 4096);
  auto waiting = wait(first);
  waiting.note({.value = 64, .digest = 99});
  EXPECT_FALSE(repeated_.under_way(calls_.make(SYS_sendmmsg, 3, 4096), kSocket));  // it waits still
  const auto again = calls_.make_again(first);
  EXPECT_FALSE(repeated_.under_way(again, kOtherSocket));
  const auto done = repeated_.under_way(again, kSocket);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->value, 64);
  EXPECT_EQ(done->digest, 99U);
}

Task<> wait_until_over(RepeatedCalls& repeated, EventLoop& loop, TrappedCall call, int fd,
                       int* woken) {
  RepeatedCalls::Wait waiting(repeated, loop, call, kSocket);
  Slot* const slot = *loop.watch(fd, 0);
  waiting.wakes(slot);
  while (!waiting.is_over()) {
    (void)co_await loop.readable(*slot, limits::kCallAwayMs);
    ++*woken;
  }
  loop.unwatch(fd);
}

Task<> repeat(RepeatedCalls& repeated, EventLoop& loop, test::FakeCalls& calls, TrappedCall call,
              const int* woken, std::vector<int>* seen) {
  call = calls.make_again(call);
  EXPECT_TRUE(repeated.join(call, kSocket));
  (void)co_await loop.sleep(kTickMs);
  seen->push_back(*woken);
  calls.leave(call);
  while (repeated.waits() != 0) (void)co_await loop.sleep(kTickMs);
  loop.stop();
}

TEST_F(RepeatedCallsTest, who_waits_is_woken_to_go_on_and_ends_when_nothing_comes) {
  const UniqueFd event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  const auto first = calls_.make(SYS_recvfrom, 3, 4096);
  int woken = 0;
  std::vector<int> seen;
  spawn(wait_until_over(repeated_, *loop_, first, event.get(), &woken));
  spawn(repeat(repeated_, *loop_, calls_, first, &woken, &seen));
  ASSERT_TRUE(loop_->run());
  EXPECT_EQ(seen, std::vector{1});
}

TEST_F(RepeatedCallsTest, what_was_done_is_said_once_and_to_the_same_call) {
  const auto first = calls_.make(SYS_sendto, 3, 4096);
  repeated_.keep(first, kSocket, {.value = 8, .digest = 99});
  EXPECT_FALSE(repeated_.take(calls_.make(SYS_sendto, 3, 4097), kSocket));
  EXPECT_FALSE(repeated_.take(first, kOtherSocket));
  const auto again = calls_.make_again(first);
  const auto done = repeated_.take(again, kSocket);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->value, 8);
  EXPECT_EQ(done->digest, 99U);
  EXPECT_FALSE(repeated_.take(again, kSocket));
}

}  // namespace
}  // namespace shunt
