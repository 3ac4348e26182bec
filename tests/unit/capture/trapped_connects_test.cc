// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_connects.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <cerrno>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "net/socket.h"
#include "net/socket_state.h"
#include "unit/capture/fake_calls.h"
#include "unit/support/loop_thread.h"

namespace shunt {
namespace {

using std::chrono::milliseconds;

constexpr auto kPatience = std::chrono::seconds(10);

Endpoint endpoint(const char* text) { return Endpoint::parse(text).value_or(Endpoint{}); }

/// A blocking socket of the program's, with SO_SNDTIMEO where `timeout_ms` is not 0.
UniqueFd program_socket(int timeout_ms = 0) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  return socket;
}

/// What is under test runs on a loop's thread; the program is the test's.
class TrappedConnectsTest : public testing::Test {
 protected:
  template <class Work>
  auto on_loop(Work work) {
    const auto done = std::make_shared<std::promise<decltype(work())>>();
    thread_.loop().post([&work, done] { done->set_value(work()); });
    return done->get_future().get();
  }
  void SetUp() override {
    auto parking = Parking::create();
    ASSERT_TRUE(parking) << parking.error().text();
    connects_.emplace(context_, *std::move(parking), false);
    context_.worker.loop = &thread_.loop();
    context_.worker.take_room = [this] { return ++rooms_ > 0; };
    context_.worker.give_room = [this] { --rooms_; };
    context_.worker.run = [this](Task<> task) { spawn(counted(std::move(task))); };
  }
  void TearDown() override {
    on_loop([&] { return thread_.loop().cancel_all(), true; });
    while (on_loop([&] { return tasks_; }) != 0) {
    }
  }
  Task<> counted(Task<> task) {
    ++tasks_;
    co_await task;
    --tasks_;
  }

  /// The answer; nothing: it has to wait.
  std::optional<std::int64_t> connect(const TrappedCall& call, TrappedSocket socket,
                                      const Endpoint& to) {
    return on_loop([&] {
      (void)give_answer(calls_, call.id, connects_->connect(call, std::move(socket), to));
      return calls_.answer(call);
    });
  }
  std::optional<std::int64_t> connect_natively(const TrappedCall& call, const Endpoint& to) {
    auto copy = TrappedSocket::of(UniqueFd(::dup(static_cast<int>(call.arguments[0]))));
    return on_loop([&] {
      const SocketAddress address(to);
      (void)give_answer(calls_, call.id,
                        connects_->connect_natively(call, std::move(copy), address));
      return calls_.answer(call);
    });
  }
  bool is_answered(const TrappedCall& call) {
    const auto end = Clock::now() + kPatience;
    while (!calls_.answer(call) && Clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
    return calls_.answer(call).has_value();
  }

  test::LoopThread thread_;
  int tasks_ = 0;  // that wait
  int rooms_ = 0;  // that are taken
  test::FakeCalls calls_;
  TrappedProcesses owners_;
  CallContext context_{.calls = calls_, .owners = owners_};
  std::optional<TrappedConnects> connects_;
};

TEST_F(TrappedConnectsTest, a_socket_that_cannot_be_watched_is_connecting_no_more) {
  const auto socket = program_socket();
  UniqueFd copy(::dup(socket.get()));
  const int number = copy.get();
  // A second time the kernel refuses it, as where it has no memory left.
  ASSERT_TRUE(on_loop([&] { return thread_.loop().watch(number, 0).has_value(); }));
  const auto call = calls_.make(SYS_connect, socket.get());
  EXPECT_EQ(connect(call, TrappedSocket::of(std::move(copy)), endpoint("203.0.113.1:80")),
            -ENOBUFS);
  EXPECT_FALSE(is_connecting(socket.get()));
  EXPECT_EQ(rooms_, 0);
}

TEST_F(TrappedConnectsTest, a_timeout_holds_while_signals_come_to_a_connect_that_is_the_kernels) {
  // Nobody answers at a listener whose queue is full.
  const auto full = Parking::create();
  ASSERT_TRUE(full);
  const auto socket = program_socket(700);
  const auto begun = Clock::now();
  auto call = calls_.make(SYS_connect, socket.get());
  ASSERT_EQ(connect_natively(call, full->places().front()), std::nullopt);
  for (int signal = 0; signal < 2; ++signal) {
    std::this_thread::sleep_for(milliseconds(150));
    calls_.leave(call);
    std::this_thread::sleep_for(milliseconds(150));  // its handler's time; somebody looks meanwhile
    call = calls_.make_again(call);
    ASSERT_EQ(connect_natively(call, full->places().front()), std::nullopt);
  }
  ASSERT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), -EINPROGRESS);
  EXPECT_GE(Clock::now() - begun, milliseconds(690));
  EXPECT_LT(Clock::now() - begun, milliseconds(950));  // begun anew it would be 1300
}

TEST_F(TrappedConnectsTest, a_connect_that_nobody_comes_back_for_is_left_to_the_kernel) {
  const auto full = Parking::create();
  ASSERT_TRUE(full);
  const auto socket = program_socket();
  const auto call = calls_.make(SYS_connect, socket.get());
  ASSERT_EQ(connect_natively(call, full->places().front()), std::nullopt);
  EXPECT_EQ(on_loop([&] { return rooms_; }), 1);
  calls_.leave(call);
  const auto end = Clock::now() + kPatience;
  while (on_loop([&] { return rooms_; }) != 0 && Clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(on_loop([&] { return rooms_; }), 0);
  EXPECT_TRUE(is_connecting(socket.get()));
}

}  // namespace
}  // namespace shunt
