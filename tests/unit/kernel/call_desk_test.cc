// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/call_desk.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>

namespace shunt {
namespace {

class CallDeskTest : public testing::Test {
 protected:
  static short ready(int fd) {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) > 0 ? entry.revents : short{0};
  }
  std::unique_ptr<CallDesk> desk_ = *CallDesk::create();
};

TEST_F(CallDeskTest, calls_come_in_their_order_and_say_so) {
  EXPECT_EQ(ready(desk_->calls_fd()), 0);
  const auto first = desk_->hand_in({.thread = 7, .number = 1});
  const auto second = desk_->hand_in({.thread = 8, .number = 2});
  EXPECT_EQ(ready(desk_->calls_fd()), POLLIN);
  const auto one = desk_->receive();
  ASSERT_TRUE(one);
  EXPECT_EQ(one->id, first);
  EXPECT_EQ(one->thread, 7);
  const auto other = desk_->receive();
  ASSERT_TRUE(other);
  EXPECT_EQ(other->id, second);
  EXPECT_FALSE(desk_->receive());
  EXPECT_EQ(ready(desk_->calls_fd()), 0);
  desk_->hand_in({.thread = 7, .number = 3});
  EXPECT_EQ(ready(desk_->calls_fd()), POLLIN);
}

TEST_F(CallDeskTest, a_call_is_answered_once) {
  const auto id = desk_->hand_in({.thread = 7});
  EXPECT_TRUE(desk_->waits(id));
  EXPECT_EQ(ready(desk_->answers_fd()), 0);
  EXPECT_TRUE(desk_->answer(id, -ECONNREFUSED));
  EXPECT_FALSE(desk_->waits(id));
  EXPECT_FALSE(desk_->answer(id, 0));
  EXPECT_EQ(ready(desk_->answers_fd()), POLLIN);
  const auto answers = desk_->take_answers();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers.front().id, id);
  EXPECT_EQ(answers.front().thread, 7);
  EXPECT_EQ(answers.front().value, -ECONNREFUSED);
  EXPECT_EQ(ready(desk_->answers_fd()), 0);
  EXPECT_TRUE(desk_->take_answers().empty());
}

TEST_F(CallDeskTest, a_call_that_is_to_run_has_no_value) {
  const auto id = desk_->hand_in({.thread = 7});
  EXPECT_TRUE(desk_->answer(id, std::nullopt));
  EXPECT_FALSE(desk_->take_answers().front().value);
}

TEST_F(CallDeskTest, a_call_that_is_withdrawn_is_nobodys_any_more) {
  const auto id = desk_->hand_in({.thread = 7});
  EXPECT_TRUE(desk_->withdraw(id));
  EXPECT_FALSE(desk_->withdraw(id));
  EXPECT_FALSE(desk_->receive());
  EXPECT_FALSE(desk_->waits(id));
  EXPECT_FALSE(desk_->answer(id, 0));
}

TEST_F(CallDeskTest, an_answer_that_was_given_is_not_withdrawn) {
  const auto id = desk_->hand_in({.thread = 7});
  EXPECT_TRUE(desk_->answer(id, 0));
  EXPECT_FALSE(desk_->withdraw(id));
}

TEST_F(CallDeskTest, who_is_left_alone_hears_of_it) {
  desk_->stop();
  EXPECT_TRUE(desk_->stopped());
  EXPECT_EQ(ready(desk_->answers_fd()), POLLIN);
  const auto id = desk_->hand_in({.thread = 7});
  desk_->close();
  EXPECT_NE(ready(desk_->calls_fd()) & POLLHUP, 0);
  EXPECT_FALSE(desk_->waits(id));
  EXPECT_FALSE(desk_->receive());
}

}  // namespace
}  // namespace shunt
