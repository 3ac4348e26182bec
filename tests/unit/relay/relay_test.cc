// SPDX-License-Identifier: GPL-2.0-only
#include "relay/relay.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/limits.h"
#include "net/socket.h"
#include "relay/mover.h"
#include "unit/support/loop_thread.h"
#include "unit/support/random_bytes.h"
#include "unit/support/tcp_pair.h"

namespace shunt {
namespace {

using test::LoopThread;
using test::random_bytes;
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

struct Sides {
  UniqueFd client;
  UniqueFd upstream;
  std::uint8_t assumed_ready;
};

Task<Outcome> relay_pairs(RelayResources& resources, Sides sides, Tap* tap, std::string early) {
  tune_relayed_tcp(sides.client.get());
  keep_urgent_bytes_in_line(sides.upstream.get());
  const std::uint8_t ready = sides.assumed_ready;
  auto client = *WatchedFd::create(resources.loop, std::move(sides.client), ready);
  auto upstream = *WatchedFd::create(resources.loop, std::move(sides.upstream), ready);
  co_return co_await relay(resources, client, upstream, tap, std::move(early));
}

class Relay : public ::testing::Test {
 protected:
  void start(std::uint32_t idle_ms = 60'000, Tap* tap = nullptr, std::string early = {}) {
    resources_ = std::make_unique<RelayResources>(thread_.loop(), allowance_, idle_ms);
    resources_->half_closed_timeout_ms = half_closed_ms_;
    outcome_ = thread_.start<Outcome>([this, tap, early] {
      return relay_pairs(*resources_,
                         {std::move(client_.far), std::move(upstream_.far), assumed_ready_}, tap,
                         early);
    });
  }
  /// The server sends `body` and closes; true when all of it arrives and the relay ends.
  bool download_arrives(const std::string& body) {
    std::jthread server([&] {
      send_all(upstream_.near.get(), body);
      upstream_.near.reset();
    });
    const bool arrived = receive_to_end(client_.near.get()) == body;
    client_.near.reset();
    return arrived && outcome().bytes_down == body.size();
  }
  /// The other side gets the client's urgent byte as one, and `after` behind it.
  void expect_urgent_byte_then(std::string_view after) {
    ASSERT_TRUE(test::wait_for(upstream_.near.get(), POLLPRI));
    char urgent = 0;
    ASSERT_EQ(::recv(upstream_.near.get(), &urgent, 1, MSG_OOB), 1);
    EXPECT_EQ(urgent, '!');
    EXPECT_EQ(receive(upstream_.near.get(), after.size()), after);
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
  std::uint8_t assumed_ready_ = Slot::kReadable | Slot::kWritable;
  std::uint32_t half_closed_ms_ = limits::kHalfClosedTimeoutMs;
  FreeFds allowance_;
  std::unique_ptr<RelayResources> resources_;
  std::future<Outcome> outcome_;
  LoopThread thread_;
};

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

TEST(TurnBytes, are_fewer_the_closer_the_company) {
  EXPECT_LT(turn_bytes(Company::now), turn_bytes(Company::lately));
  EXPECT_LT(turn_bytes(Company::lately), turn_bytes(Company::none));
}

bool sends_without_delay(const UniqueFd& fd) {
  int value = 0;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(fd.get(), SOL_TCP, TCP_NODELAY, &value, &size), 0);
  return value != 0;
}

TEST_F(Relay, asks_the_upstream_socket_not_to_delay_from_its_second_message_on) {
  const UniqueFd upstream(::dup(upstream_.far.get()));
  start();
  for (const bool expected : {false, true, true}) {
    send_all(client_.near.get(), "ping");
    EXPECT_EQ(receive(upstream_.near.get(), 4), "ping");
    EXPECT_EQ(sends_without_delay(upstream), expected);
  }
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

class RelayReset : public Relay {
 protected:
  /// Once a byte has passed, so that both directions wait for the next.
  void reset_reaches_the_other_side(UniqueFd& by, const UniqueFd& other) {
    start();
    send_all(client_.near.get(), "x");
    EXPECT_EQ(receive(upstream_.near.get(), 1), "x");
    reset_on_close(by.get());
    by.reset();
    int error = 0;
    receive_to_end(other.get(), &error);
    EXPECT_EQ(error, ECONNRESET);
  }
};

TEST_F(RelayReset, by_client_reaches_upstream) {
  reset_reaches_the_other_side(client_.near, upstream_.near);
  EXPECT_EQ(outcome().reason, EndReason::client_reset);
}

TEST_F(RelayReset, by_upstream_reaches_client) {
  reset_reaches_the_other_side(upstream_.near, client_.near);
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
  EXPECT_TRUE(download_arrives(random_bytes(24 << 20)));
  EXPECT_GT(allowance_.taken.load(), 0) << "never switched to splice";
}

TEST_F(Relay, bulk_is_copied_when_descriptors_are_short) {
  allowance_.refuse = true;
  start();
  EXPECT_TRUE(download_arrives(random_bytes(8 << 20)));
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
  expect_urgent_byte_then("after");
}

// As a UNIX stream socket without CONFIG_AF_UNIX_OOB does, one of records refuses MSG_OOB.
TEST_F(Relay, urgent_byte_goes_as_any_other_where_a_socket_has_none) {
  int fds[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  upstream_.near = UniqueFd(fds[0]);
  upstream_.far = UniqueFd(fds[1]);
  start();
  ASSERT_EQ(::send(client_.near.get(), "!", 1, MSG_OOB), 1);
  send_all(client_.near.get(), "after");
  std::string got;
  while (got.size() < 6) {
    ASSERT_TRUE(test::wait_for(upstream_.near.get(), POLLIN));
    char buffer[64];
    const auto count = ::recv(upstream_.near.get(), buffer, sizeof buffer, 0);
    ASSERT_GT(count, 0);
    got.append(buffer, static_cast<std::size_t>(count));
  }
  EXPECT_EQ(got, "!after");
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

/// Whether the first read is tried at once, or when epoll has said what there is.
class RelayFirstRead : public Relay, public ::testing::WithParamInterface<std::uint8_t> {};
INSTANTIATE_TEST_SUITE_P(, RelayFirstRead,
                         testing::Values(Slot::kReadable | Slot::kWritable, Slot::kWritable));

TEST_P(RelayFirstRead, urgent_byte_that_comes_first_stays_urgent) {
  assumed_ready_ = GetParam();
  ASSERT_EQ(::send(client_.near.get(), "!", 1, MSG_OOB), 1);
  send_all(client_.near.get(), "after");
  ASSERT_TRUE(test::wait_for(client_.far.get(), POLLPRI));
  start();
  expect_urgent_byte_then("after");
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

TEST_F(Relay, half_closed_pair_is_ended_sooner_than_an_open_one) {
  half_closed_ms_ = 200;
  start(3'600'000);
  ::shutdown(client_.near.get(), SHUT_WR);
  int error = 0;
  receive_to_end(client_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(outcome().reason, EndReason::idle);
}

TEST_F(Relay, half_close_after_a_long_silence_leaves_time_for_the_answer) {
  half_closed_ms_ = 500;
  start();
  std::this_thread::sleep_for(std::chrono::milliseconds(800));
  ::shutdown(client_.near.get(), SHUT_WR);
  EXPECT_EQ(receive_to_end(upstream_.near.get()), "");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  send_all(upstream_.near.get(), "answer");
  upstream_.near.reset();
  EXPECT_EQ(receive_to_end(client_.near.get()), "answer");
  EXPECT_EQ(outcome().reason, EndReason::closed);
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
