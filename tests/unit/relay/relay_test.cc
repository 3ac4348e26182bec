// SPDX-License-Identifier: GPL-2.0-only
#include "relay/relay.h"

#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <random>
#include <thread>

#include "net/socket.h"
#include "unit/support/loop_thread.h"
#include "unit/support/tcp_pair.h"

namespace shunt {
namespace {

using test::LoopThread;
using test::receive;
using test::receive_to_end;
using test::send_all;
using test::tcp_pair;
using test::TcpPair;

constexpr auto kDeadline = std::chrono::milliseconds(test::kDeadlineMs);

class FreeFds final : public FdAllowance {
 public:
  bool take_for_pipe(int count) override {
    if (refuse) return false;
    held += count;
    ++taken;
    return true;
  }
  void give_back(int count) override { held -= count; }
  std::atomic<bool> refuse = false;
  std::atomic<int> held = 0;
  std::atomic<int> taken = 0;
};

Task<Outcome> relay_pairs(RelayResources& resources, UniqueFd client, UniqueFd upstream, Tap* tap,
                          std::string early) {
  constexpr std::uint8_t kReady = Slot::kReadable | Slot::kWritable;
  tune_relayed_tcp(client.get());
  tune_relayed_tcp(upstream.get());
  auto client_side = *WatchedFd::create(resources.loop, std::move(client), kReady);
  auto upstream_side = *WatchedFd::create(resources.loop, std::move(upstream), kReady);
  co_return co_await relay(resources, client_side, upstream_side, tap, std::move(early));
}

class Relay : public ::testing::Test {
 protected:
  void start(std::uint32_t idle_ms = 60'000, Tap* tap = nullptr, std::string early = {}) {
    resources_ = std::make_unique<RelayResources>(thread_.loop(), allowance_, idle_ms);
    outcome_ = thread_.start<Outcome>([this, tap, early] {
      return relay_pairs(*resources_, std::move(client_.far), std::move(upstream_.far), tap, early);
    });
  }
  Outcome outcome() {
    EXPECT_EQ(outcome_.wait_for(kDeadline), std::future_status::ready);
    return outcome_.get();
  }
  ~Relay() override {
    // A relay that a test left running must end before what it uses goes.
    thread_.loop().post([this] { thread_.loop().cancel_all(); });
    if (outcome_.valid()) outcome_.wait_for(kDeadline);
    thread_.start<int>([this] { return drop(); }).wait();  // pipes belong to the loop's thread
  }
  Task<int> drop() {
    resources_.reset();
    co_return 0;
  }

  TcpPair client_ = tcp_pair();
  TcpPair upstream_ = tcp_pair();
  FreeFds allowance_;
  std::unique_ptr<RelayResources> resources_;
  std::future<Outcome> outcome_;
  LoopThread thread_;
};

std::string random_bytes(std::size_t size) {
  std::mt19937_64 generator(size);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(generator());
  return bytes;
}

TEST_F(Relay, passes_small_messages_both_ways) {
  start();
  send_all(client_.near.get(), "ping");
  EXPECT_EQ(receive(upstream_.near.get(), 4), "ping");
  send_all(upstream_.near.get(), "pong!");
  EXPECT_EQ(receive(client_.near.get(), 5), "pong!");
  client_.near.reset();
  EXPECT_EQ(receive_to_end(upstream_.near.get()), "");
  upstream_.near.reset();
  const Outcome done = outcome();
  EXPECT_EQ(done.reason, EndReason::closed);
  EXPECT_EQ(done.bytes_up, 4U);
  EXPECT_EQ(done.bytes_down, 5U);
}

TEST_F(Relay, half_close_by_client_leaves_the_response_alone) {
  start();
  send_all(client_.near.get(), "request");
  ::shutdown(client_.near.get(), SHUT_WR);
  EXPECT_EQ(receive_to_end(upstream_.near.get()), "request");
  const std::string response = random_bytes(300'000);
  std::jthread server([&] {
    send_all(upstream_.near.get(), response);
    upstream_.near.reset();
  });
  EXPECT_EQ(receive_to_end(client_.near.get()), response);
  EXPECT_EQ(outcome().reason, EndReason::closed);
}

TEST_F(Relay, half_close_by_upstream_leaves_the_upload_alone) {
  start();
  ::shutdown(upstream_.near.get(), SHUT_WR);
  EXPECT_EQ(receive_to_end(client_.near.get()), "");
  send_all(client_.near.get(), "still talking");
  client_.near.reset();
  EXPECT_EQ(receive_to_end(upstream_.near.get()), "still talking");
  EXPECT_EQ(outcome().reason, EndReason::closed);
}

TEST_F(Relay, reset_by_client_reaches_upstream) {
  start();
  send_all(client_.near.get(), "x");
  EXPECT_EQ(receive(upstream_.near.get(), 1), "x");
  reset_on_close(client_.near.get());
  client_.near.reset();
  int error = 0;
  receive_to_end(upstream_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(outcome().reason, EndReason::client_reset);
}

TEST_F(Relay, reset_by_upstream_reaches_client) {
  start();
  send_all(client_.near.get(), "x");
  EXPECT_EQ(receive(upstream_.near.get(), 1), "x");
  reset_on_close(upstream_.near.get());
  upstream_.near.reset();
  int error = 0;
  receive_to_end(client_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(outcome().reason, EndReason::upstream_reset);
}

TEST_F(Relay, reset_after_half_close_reaches_the_other_side) {
  start();
  ::shutdown(client_.near.get(), SHUT_WR);
  EXPECT_EQ(receive_to_end(upstream_.near.get()), "");
  reset_on_close(client_.near.get());
  client_.near.reset();
  ASSERT_TRUE(test::wait_for(upstream_.near.get(), POLLHUP));
  // What the kernel reports of a reset in CLOSE_WAIT (tcp_reset() in net/ipv4/tcp_input.c).
  EXPECT_EQ(pending_error(upstream_.near.get()), EPIPE);
  EXPECT_EQ(outcome().reason, EndReason::client_reset);
}

TEST_F(Relay, bulk_is_spliced_and_every_byte_right) {
  start();
  const std::string body = random_bytes(24 << 20);
  std::jthread server([&] {
    send_all(upstream_.near.get(), body);
    upstream_.near.reset();
  });
  EXPECT_TRUE(receive_to_end(client_.near.get()) == body);
  client_.near.reset();
  EXPECT_EQ(outcome().bytes_down, body.size());
  EXPECT_GT(allowance_.taken.load(), 0) << "never switched to splice";
}

TEST_F(Relay, bulk_is_copied_when_descriptors_are_short) {
  allowance_.refuse = true;
  start();
  const std::string body = random_bytes(8 << 20);
  std::jthread server([&] {
    send_all(upstream_.near.get(), body);
    upstream_.near.reset();
  });
  EXPECT_TRUE(receive_to_end(client_.near.get()) == body);
  client_.near.reset();
  EXPECT_EQ(outcome().bytes_down, body.size());
}

TEST_F(Relay, early_upstream_bytes_come_first) {
  start(60'000, nullptr, "220 hello ");
  send_all(upstream_.near.get(), "world");
  EXPECT_EQ(receive(client_.near.get(), 15), "220 hello world");
}

TEST_F(Relay, urgent_byte_arrives_as_one_at_its_place) {
  start();
  send_all(client_.near.get(), "before");
  EXPECT_EQ(receive(upstream_.near.get(), 6), "before");
  ASSERT_EQ(::send(client_.near.get(), "!", 1, MSG_OOB), 1);
  send_all(client_.near.get(), "after");
  ASSERT_TRUE(test::wait_for(upstream_.near.get(), POLLPRI));
  char urgent = 0;
  ASSERT_EQ(::recv(upstream_.near.get(), &urgent, 1, MSG_OOB), 1);
  EXPECT_EQ(urgent, '!');
  EXPECT_EQ(receive(upstream_.near.get(), 5), "after");
}

TEST_F(Relay, urgent_byte_in_the_middle_of_bulk_loses_nothing) {
  start();
  const int one = 1;
  ::setsockopt(upstream_.near.get(), SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
  const std::string body = random_bytes(8 << 20);
  std::jthread sender([&] {
    send_all(client_.near.get(), body);
    ASSERT_EQ(::send(client_.near.get(), "!", 1, MSG_OOB), 1);
    send_all(client_.near.get(), body);
    client_.near.reset();
  });
  const std::string got = receive_to_end(upstream_.near.get());
  EXPECT_EQ(got.size(), body.size() * 2 + 1);
  EXPECT_TRUE(got == body + "!" + body);
}

TEST_F(Relay, urgent_byte_that_comes_first_stays_urgent) {
  ASSERT_EQ(::send(client_.near.get(), "!", 1, MSG_OOB), 1);
  send_all(client_.near.get(), "after");
  ASSERT_TRUE(test::wait_for(client_.far.get(), POLLPRI));
  start();
  ASSERT_TRUE(test::wait_for(upstream_.near.get(), POLLPRI));
  char urgent = 0;
  ASSERT_EQ(::recv(upstream_.near.get(), &urgent, 1, MSG_OOB), 1);
  EXPECT_EQ(urgent, '!');
  EXPECT_EQ(receive(upstream_.near.get(), 5), "after");
}

TEST_F(Relay, urgent_byte_before_a_reset_leaves_no_gap) {
  const int one = 1;
  ::setsockopt(upstream_.near.get(), SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
  send_all(client_.near.get(), "before");
  ASSERT_EQ(::send(client_.near.get(), "!", 1, MSG_OOB), 1);
  send_all(client_.near.get(), "after");
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(client_.near.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  client_.near.reset();
  ASSERT_TRUE(test::wait_for(client_.far.get(), POLLERR));
  start();
  int error = 0;
  const std::string got = receive_to_end(upstream_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_TRUE(std::string_view("before!after").starts_with(got)) << got;
}

TEST_F(Relay, stalled_reader_stops_the_sender) {
  start();
  const std::string chunk(1 << 20, 'x');
  std::size_t taken = 0;
  ::fcntl(upstream_.near.get(), F_SETFL, O_NONBLOCK);
  pollfd poll{.fd = upstream_.near.get(), .events = POLLOUT, .revents = 0};
  while (taken < (256U << 20) && ::poll(&poll, 1, 500) == 1) {
    const ssize_t sent = ::send(upstream_.near.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL);
    if (sent > 0) taken += static_cast<std::size_t>(sent);
  }
  EXPECT_LT(taken, 64U << 20) << "no backpressure";
  ::shutdown(upstream_.near.get(), SHUT_WR);
  EXPECT_EQ(receive_to_end(client_.near.get()).size(), taken);
}

TEST_F(Relay, idle_pair_is_ended) {
  start(200);
  int error = 0;
  receive_to_end(client_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(outcome().reason, EndReason::idle);
}

TEST_F(Relay, traffic_one_way_keeps_the_pair_alive) {
  start(400);
  for (int i = 0; i < 8; ++i) {
    send_all(upstream_.near.get(), "tick");
    EXPECT_EQ(receive(client_.near.get(), 4), "tick");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  client_.near.reset();
  upstream_.near.reset();
  EXPECT_EQ(outcome().reason, EndReason::closed);
}

TEST_F(Relay, cancelled_loop_ends_it_with_a_reset) {
  start();
  send_all(client_.near.get(), "x");
  EXPECT_EQ(receive(upstream_.near.get(), 1), "x");
  thread_.loop().post([this] { thread_.loop().cancel_all(); });
  int error = 0;
  receive_to_end(client_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(outcome().reason, EndReason::shutdown);
}

}  // namespace
}  // namespace shunt
