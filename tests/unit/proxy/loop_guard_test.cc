// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/loop_guard.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace shunt {
namespace {

const Endpoint kOurs = *Endpoint::parse("127.0.0.1:40000");

TEST(LoopGuard, knows_an_upstream_for_as_long_as_it_is_open) {
  LoopGuard guard;
  EXPECT_FALSE(guard.is_own(kOurs));
  guard.opening();
  guard.opened(kOurs);
  EXPECT_TRUE(guard.is_own(kOurs));
  EXPECT_FALSE(guard.is_own(*Endpoint::parse("192.0.2.1:40000")));
  guard.closed(kOurs);
  EXPECT_FALSE(guard.is_own(kOurs));
}

TEST(LoopGuard, waits_for_a_connect_that_is_under_way_on_another_thread) {
  LoopGuard guard;
  guard.opening();
  std::jthread dialling([&] {
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    guard.opened(kOurs);
  });
  // Waiting is bounded, so a preempted thread may still be missed: once in a few tries it is not.
  bool seen = guard.is_own(kOurs);
  for (int i = 0; i < 1000 && !seen; ++i) seen = guard.is_own(kOurs);
  EXPECT_TRUE(seen);
}

TEST(LoopGuard, a_client_elsewhere_never_waits) {
  LoopGuard guard;
  guard.opening();  // and never over
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_FALSE(guard.is_own(*Endpoint::parse("203.0.113.9:40000")));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
}

}  // namespace
}  // namespace shunt
