// SPDX-License-Identifier: GPL-2.0-only
#include "capture/preload_calls.h"

#include <gtest/gtest.h>
#include <preload.abi.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "net/fd_passing.h"

namespace shunt {
namespace {

class PreloadCallsTest : public testing::Test {
 protected:
  /// A call, and the program's end of its connection.
  std::pair<std::uint64_t, UniqueFd> call() {
    auto ends = make_record_channel();
    EXPECT_TRUE(ends);
    return {calls_.add(std::move(ends->first)), std::move(ends->second)};
  }
  static shunt_preload_answer answer_at(const UniqueFd& program) {
    shunt_preload_answer answer{};
    EXPECT_EQ(::recv(program.get(), &answer, sizeof answer, MSG_DONTWAIT),
              static_cast<ssize_t>(sizeof answer));
    return answer;
  }

  PreloadCalls calls_;
};

TEST_F(PreloadCallsTest, AnswersEndTheWait) {
  auto [id, program] = call();
  EXPECT_TRUE(calls_.waits(id));
  EXPECT_TRUE(calls_.fail(id, ECONNREFUSED));
  EXPECT_FALSE(calls_.waits(id));
  EXPECT_FALSE(calls_.fail(id, EALREADY)) << "once is enough";
  const auto answer = answer_at(program);
  EXPECT_EQ(answer.verdict, static_cast<unsigned>(SHUNT_PRELOAD_DONE));
  EXPECT_EQ(answer.error, ECONNREFUSED);
  char more = 0;
  EXPECT_EQ(::recv(program.get(), &more, 1, 0), 0) << "the connection is closed";
}

TEST_F(PreloadCallsTest, EachIsAnsweredByItself) {
  auto [first, one] = call();
  auto [second, other] = call();
  EXPECT_TRUE(calls_.finish(second, 0));
  EXPECT_TRUE(calls_.waits(first));
  EXPECT_TRUE(calls_.let_run(first));
  EXPECT_EQ(answer_at(one).verdict, static_cast<unsigned>(SHUNT_PRELOAD_RUN));
  EXPECT_EQ(answer_at(other).error, 0);
}

TEST_F(PreloadCallsTest, BegunIsNoEnd) {
  auto [id, program] = call();
  calls_.begun(id);
  EXPECT_TRUE(calls_.waits(id));
  EXPECT_EQ(answer_at(program).verdict, static_cast<unsigned>(SHUNT_PRELOAD_BEGUN));
  EXPECT_TRUE(calls_.finish(id, 0));
  EXPECT_EQ(answer_at(program).verdict, static_cast<unsigned>(SHUNT_PRELOAD_DONE));
  calls_.begun(id);  // nobody is left to hear it
}

TEST_F(PreloadCallsTest, WhoWasCalledAwayIsNotTold) {
  auto [id, program] = call();
  program.reset();
  EXPECT_FALSE(calls_.waits(id));
  EXPECT_FALSE(calls_.finish(id, 0));
  EXPECT_FALSE(calls_.waits(id + 1)) << "never made";
}

}  // namespace
}  // namespace shunt
