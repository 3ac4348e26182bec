// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_receives.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "base/counters.h"
#include "unit/capture/datagram_fixture.h"

namespace shunt {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

class TrappedReceivesTest : public DatagramFixture {};

TEST_F(TrappedReceivesTest, a_source_is_shown_as_the_destination) {
  const auto socket = program_socket();
  connect(socket, far_);
  ASSERT_EQ(::send(socket.get(), "question", 8, 0), 8);
  EXPECT_EQ(arrived(), "question");
  answer_to(socket, "answer");
  EXPECT_EQ(receive(recvfrom_call(socket)), 6);
  EXPECT_EQ(std::string(buffer_.data(), 6), "answer");
  EXPECT_EQ(source_size_, sizeof(sockaddr_in));
  EXPECT_EQ(Endpoint::from(source_), far_);
}

TEST_F(TrappedReceivesTest, shutting_down_ends_a_receive_that_waits) {
  const auto socket = program_socket();
  connect(socket, far_);
  const auto call = recvfrom_call(socket);
  EXPECT_EQ(receive(call), std::nullopt);
  ASSERT_EQ(::shutdown(socket.get(), SHUT_RD), 0);
  ASSERT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), 0);
  EXPECT_EQ(source_size_, 0U);
  const auto after = recvfrom_call(socket);
  (void)receive(after);
  ASSERT_TRUE(is_answered(after));
  EXPECT_EQ(calls_.answer(after), 0);
  EXPECT_EQ(receive(recvfrom_call(socket, MSG_DONTWAIT)), -EAGAIN);  // as the kernel says it
}

TEST_F(TrappedReceivesTest, shutting_down_ends_a_receive_of_a_message) {
  const auto socket = program_socket();
  connect(socket, far_);
  iovec piece{.iov_base = buffer_.data(), .iov_len = buffer_.size()};
  mmsghdr messages{};
  messages.msg_hdr = {.msg_name = &source_,
                      .msg_namelen = sizeof source_,
                      .msg_iov = &piece,
                      .msg_iovlen = 1,
                      .msg_control = nullptr,
                      .msg_controllen = 0,
                      .msg_flags = -1};
  const auto one = calls_.make(SYS_recvmsg, socket.get(), &messages.msg_hdr, 0);
  EXPECT_EQ(receive(one), std::nullopt);
  ASSERT_EQ(::shutdown(socket.get(), SHUT_RD), 0);
  ASSERT_TRUE(is_answered(one));
  EXPECT_EQ(calls_.answer(one), 0);
  EXPECT_EQ(messages.msg_hdr.msg_namelen, 0U);
  EXPECT_EQ(messages.msg_hdr.msg_flags, 0);
  messages.msg_len = 99;
  const auto many = calls_.make(SYS_recvmmsg, socket.get(), &messages, 1, 0, 0);
  (void)receive(many);
  ASSERT_TRUE(is_answered(many));
  EXPECT_EQ(calls_.answer(many), 1);
  EXPECT_EQ(messages.msg_len, 0U);
}

TEST_F(TrappedReceivesTest, a_receive_that_comes_again_keeps_its_deadline) {
  const auto socket = program_socket();
  const timeval limit{.tv_sec = 0, .tv_usec = 600'000};
  ASSERT_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  connect(socket, far_);
  const auto begun = Clock::now();
  auto call = recvfrom_call(socket);
  ASSERT_EQ(receive(call), std::nullopt);
  for (int signal = 0; signal < 4; ++signal) {
    std::this_thread::sleep_for(milliseconds(100));  // the signals' times
    call = calls_.make_again(call);
    ASSERT_EQ(receive(call), std::nullopt);
  }
  ASSERT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), -EAGAIN);
  EXPECT_GE(Clock::now() - begun, milliseconds(590));
  EXPECT_LT(Clock::now() - begun, milliseconds(950));  // begun anew it would be a second
}

TEST_F(TrappedReceivesTest, receives_that_were_left_do_not_pile_up) {
  const auto socket = program_socket();
  connect(socket, far_);
  auto call = recvfrom_call(socket);
  ASSERT_EQ(receive(call), std::nullopt);
  for (int signal = 0; signal < 5'000; ++signal) {
    call = calls_.make_again(call);
    ASSERT_EQ(receive(call), std::nullopt);
  }
  EXPECT_EQ(on_loop([&] { return context_.repeated.waits(); }), 1U);
  // It came while nobody waited; the event is used up.
  calls_.leave(call);
  answer_to(socket, "late");
  on_loop([] { return true; });
  call = calls_.make_again(call);
  (void)receive(call);
  ASSERT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), 4);
}

TEST_F(TrappedReceivesTest, more_receives_than_are_watched_wait_all_the_same) {
  rlimit open_files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &open_files), 0);
  if (open_files.rlim_cur < kFilesForReceives) {
    GTEST_SKIP() << "needs a limit of " << kFilesForReceives << " open files";
  }
  const auto busy = program_socket();
  connect(busy, far_);
  for (std::size_t i = 0; i < limits::kReceivesWatched; ++i) {
    ASSERT_EQ(receive(recvfrom_call(busy)), std::nullopt) << i;
  }
  const auto socket = program_socket();
  connect(socket, far_);
  const auto before = shunt::counted(Counter::udp_receives_unwatched);
  const auto call = recvfrom_call(socket);
  EXPECT_EQ(receive(call), std::nullopt);
  EXPECT_EQ(shunt::counted(Counter::udp_receives_unwatched), before + 1);
  answer_to(socket, "hello");
  EXPECT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), 5);
}

TEST_F(TrappedReceivesTest, a_datagram_whose_receiver_was_called_away_is_not_lost) {
  const auto socket = program_socket();
  connect(socket, far_);
  answer_to(socket, "answer");
  const auto call = recvfrom_call(socket);
  calls_.leave_unseen(call);
  EXPECT_EQ(receive(call), std::nullopt);
  EXPECT_EQ(receive(calls_.make_again(call)), 6);
  EXPECT_EQ(std::string(buffer_.data(), 6), "answer");
}

TEST_F(TrappedReceivesTest, receives_of_other_sockets_run_as_they_are) {
  const auto socket = program_socket();
  connect(socket, far_);
  const auto other = program_socket();
  const auto of_other = recvfrom_call(other);
  EXPECT_EQ(receive(of_other), std::nullopt);
  EXPECT_TRUE(calls_.was_let_run(of_other));
  auto unknown = recvfrom_call(other);  // as of one whose process lets nobody look into it
  unknown.thread = 1;
  unknown.arguments[0] = 9'999;
  EXPECT_EQ(receive(unknown), std::nullopt);
  EXPECT_TRUE(calls_.was_let_run(unknown));
}

TEST_F(TrappedReceivesTest, errors_that_are_asked_for_are_not_waited_for) {
  const auto socket = program_socket();
  connect(socket, far_);
  EXPECT_EQ(receive(recvfrom_call(socket, MSG_ERRQUEUE)), -EAGAIN);
}

// A signal's handler, or a program that was told EINTR, may use its memory for something else.
TEST_F(TrappedReceivesTest, what_a_receiver_has_written_over_is_not_said_again) {
  const auto socket = program_socket();
  connect(socket, far_);
  answer_to(socket, "answer");
  const auto call = recvfrom_call(socket);
  calls_.leave_unseen(call);
  EXPECT_EQ(receive(call), std::nullopt);
  buffer_.fill('x');
  const auto again = calls_.make_again(call);
  EXPECT_EQ(receive(again), std::nullopt);  // it waits for the next one
  answer_to(socket, "second answer");
  ASSERT_TRUE(is_answered(again));
  EXPECT_EQ(calls_.answer(again), 13);
}

TEST_F(TrappedReceivesTest, the_same_bytes_of_another_sender_are_another_message) {
  const auto socket = program_socket();
  connect(socket, far_);
  answer_to(socket, "answer");
  const auto call = recvfrom_call(socket);
  calls_.leave_unseen(call);
  EXPECT_EQ(receive(call), std::nullopt);
  reinterpret_cast<sockaddr_in&>(source_).sin_port = htons(54);
  EXPECT_EQ(receive(calls_.make_again(call)), std::nullopt);
}

TEST_F(TrappedReceivesTest, messages_whose_receiver_was_called_away_are_not_lost) {
  const auto socket = program_socket();
  connect(socket, far_);
  answer_to(socket, "one");
  answer_to(socket, "three");
  std::array<iovec, 2> pieces{};
  std::array<mmsghdr, 2> messages{};
  for (std::size_t i = 0; i < messages.size(); ++i) {
    pieces[i] = {.iov_base = buffer_.data() + i * 16, .iov_len = 16};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  messages[0].msg_hdr.msg_name = &source_;
  messages[0].msg_hdr.msg_namelen = sizeof source_;
  auto call = calls_.make(SYS_recvmmsg, socket.get(), messages.data(), messages.size(), 0, 0);
  calls_.leave_unseen(call);
  EXPECT_EQ(receive(call), std::nullopt);
  call = calls_.make_again(call);
  calls_.leave_unseen(call);
  EXPECT_EQ(receive(call), std::nullopt);
  EXPECT_EQ(receive(calls_.make_again(call)), 2);
  EXPECT_EQ(messages[1].msg_len, 5U);
  EXPECT_EQ(std::string(buffer_.data() + 16, 5), "three");
  EXPECT_EQ(Endpoint::from(source_), far_);
}

}  // namespace
}  // namespace shunt
