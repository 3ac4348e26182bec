// SPDX-License-Identifier: GPL-2.0-only
#include "capture/pending_connect.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <utility>

#include "net/socket.h"

namespace shunt {
namespace {

constexpr pid_t kThread = 7;
constexpr pid_t kOther = 8;

/// Calls that wait until they are answered, or called away.
class Calls final : public WaitingCalls {
 public:
  void begin(std::uint64_t id) { waiting_[id] = true; }
  void call_away(std::uint64_t id) { waiting_[id] = false; }
  /// What was answered; -1: nothing.
  int said(std::uint64_t id) const {
    const auto found = said_.find(id);
    return found == said_.end() ? -1 : found->second;
  }

  bool waits(std::uint64_t id) const override {
    const auto found = waiting_.find(id);
    return found != waiting_.end() && found->second;
  }
  bool finish(std::uint64_t id, std::int64_t /*value*/) const override { return say(id, 0); }
  bool fail(std::uint64_t id, int os_error) const override { return say(id, os_error); }
  bool let_run(std::uint64_t /*id*/) const override { return false; }

 private:
  bool say(std::uint64_t id, int what) const {
    if (!waits(id)) return false;
    waiting_[id] = false;
    said_[id] = what;
    return true;
  }
  mutable std::map<std::uint64_t, bool> waiting_;
  mutable std::map<std::uint64_t, int> said_;
};

class PendingConnectTest : public testing::Test {
 protected:
  void add(std::uint64_t id, pid_t thread, Tick due = TimerWheel::kNever) {
    calls_.begin(id);
    pending_.add(id, thread, due);
  }
  static TrappedSocket socket() {
    return TrappedSocket::of(make_socket(Family::ipv4, SocketType::stream).value_or(UniqueFd()));
  }

  Calls calls_;
  PendingConnect pending_{calls_, socket()};
};

TEST_F(PendingConnectTest, all_who_wait_are_told) {
  add(1, kThread);
  add(2, kOther);
  EXPECT_TRUE(pending_.answer(ECONNREFUSED));
  EXPECT_EQ(calls_.said(1), ECONNREFUSED);
  EXPECT_EQ(calls_.said(2), ECONNREFUSED);
  EXPECT_FALSE(pending_.expected());
  EXPECT_FALSE(pending_.answer(0));
}

TEST_F(PendingConnectTest, says_that_nobody_was_there) {
  add(1, kThread);
  calls_.call_away(1);
  EXPECT_TRUE(pending_.expected());
  EXPECT_FALSE(pending_.awaited());
  EXPECT_FALSE(pending_.answer(0));
}

TEST_F(PendingConnectTest, a_call_that_is_made_once_more_keeps_its_time) {
  add(1, kThread, 100);
  calls_.call_away(1);
  add(2, kThread, 200);
  EXPECT_EQ(pending_.due(), 100U);
  pending_.expire(99);
  EXPECT_TRUE(pending_.awaited());
  pending_.expire(100);
  EXPECT_EQ(calls_.said(2), EINPROGRESS);
  EXPECT_FALSE(pending_.expected());
}

TEST_F(PendingConnectTest, two_threads_of_one_number_wait_both) {
  add(1, kThread, 100);
  add(2, kThread, 200);  // a library's: it knows processes alone
  pending_.expire(100);
  EXPECT_EQ(calls_.said(1), EINPROGRESS);
  EXPECT_EQ(pending_.due(), 200U);
}

TEST_F(PendingConnectTest, who_knows_that_it_is_under_way_is_told_otherwise) {
  add(1, kThread, 100);
  pending_.expire(100);
  add(2, kThread, 300);
  pending_.expire(200);
  EXPECT_TRUE(pending_.awaited());
  pending_.expire(300);
  EXPECT_EQ(calls_.said(2), EALREADY);
}

TEST_F(PendingConnectTest, a_time_that_was_over_as_a_signal_came_is_told_at_the_next_call) {
  add(1, kThread, 100);
  calls_.call_away(1);
  pending_.expire(100);
  EXPECT_EQ(pending_.due(), TimerWheel::kNever);  // nobody is there to be told
  add(2, kThread, 900);
  EXPECT_EQ(pending_.due(), 100U);
  pending_.expire(101);
  EXPECT_EQ(calls_.said(2), EINPROGRESS);
}

}  // namespace
}  // namespace shunt
