// SPDX-License-Identifier: GPL-2.0-only
#include "base/thread.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cerrno>
#include <memory>

#include "unit/support/no_threads.h"

namespace shunt {
namespace {

TEST(Thread, runs_what_it_is_given_and_is_waited_for) {
  std::atomic<int> done = 0;
  {
    auto thread = start_thread([&done, one = std::make_unique<int>(1)] { done += *one; });
    ASSERT_TRUE(thread.has_value());
    EXPECT_TRUE(thread->joinable());
  }
  EXPECT_EQ(done, 1);
}

TEST(Thread, leaves_signals_to_the_main_thread_and_the_callers_mask_alone) {
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &before);
  sigset_t inside;
  auto thread = start_thread([&inside] { ::pthread_sigmask(SIG_BLOCK, nullptr, &inside); });
  ASSERT_TRUE(thread.has_value());
  thread->join();
  EXPECT_FALSE(thread->joinable());
  EXPECT_EQ(::sigismember(&inside, SIGTERM), 1);
  sigset_t after;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &after);
  EXPECT_EQ(::sigismember(&after, SIGTERM), ::sigismember(&before, SIGTERM));
}

TEST(Thread, that_the_kernel_refuses_is_an_error) {
  bool ran = false;
  const test::NoThreads none;
  const auto thread = start_thread([&ran] { ran = true; });
  ASSERT_FALSE(thread.has_value());
  EXPECT_EQ(thread.error().os_error, EAGAIN);
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace shunt
