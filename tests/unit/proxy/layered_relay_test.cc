// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/layered_relay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "net/socket.h"
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
constexpr std::size_t kLongestFrame = 4096;

std::string frame(std::string_view bytes) {
  return std::string{static_cast<char>(bytes.size() >> 8), static_cast<char>(bytes.size() & 0xff)} +
         std::string(bytes);
}

std::string frames(std::string_view bytes) {
  std::string out;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kLongestFrame))) {
    out += frame(bytes.substr(0, kLongestFrame));
  }
  return out;
}

std::string unframed(std::string_view bytes) {
  std::string out;
  while (bytes.size() >= 2) {
    const std::size_t size =
        static_cast<std::uint8_t>(bytes[0]) * 256U + static_cast<std::uint8_t>(bytes[1]);
    if (size == 0) return out + "|end";
    out += bytes.substr(2, size);
    bytes.remove_prefix(std::min(bytes.size(), size + 2));
  }
  return out;
}

const std::string kEnd(2, '\0');

/// What TLS does to a stream, without the secrets: frames with a length, an empty one as the end
/// that is said, and a connection that closes without it broke off.
class FramedLayer : public StreamLayer {
 public:
  explicit FramedLayer(int fd) : fd_(fd) {}

  ssize_t send(const char* bytes, std::size_t size) override {
    if (out_.empty()) {
      promised_ = static_cast<ssize_t>(std::min(size, kLongestFrame));
      out_ = frame({bytes, static_cast<std::size_t>(promised_)});
    }
    return flush() ? promised_ : -1;
  }

  ssize_t receive(char* bytes, std::size_t size) override {
    for (;;) {
      const std::size_t length = in_.size() < 2 ? 0
                                                : static_cast<std::uint8_t>(in_[0]) * 256U +
                                                      static_cast<std::uint8_t>(in_[1]);
      if (in_.size() >= 2 && length == 0) return 0;
      if (in_.size() >= 2 && in_.size() >= length + 2) {
        EXPECT_GE(size, length);
        std::memcpy(bytes, in_.data() + 2, length);
        in_.erase(0, length + 2);
        return static_cast<ssize_t>(length);
      }
      char buffer[kLongestFrame];
      const ssize_t count = ::recv(fd_, buffer, sizeof buffer, 0);
      if (count == 0) errno = ECONNRESET;
      if (count <= 0) return -1;
      in_.append(buffer, static_cast<std::size_t>(count));
    }
  }

  int finish_sending() override {
    if (out_.empty()) out_ = kEnd;
    return flush() ? ::shutdown(fd_, SHUT_WR) : -1;
  }

 private:
  bool flush() {
    while (!out_.empty()) {
      const ssize_t sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
      if (sent < 0) return false;
      out_.erase(0, static_cast<std::size_t>(sent));
    }
    return true;
  }

  int fd_;
  std::string in_;
  std::string out_;
  ssize_t promised_ = 0;
};

class FreeFds final : public FdAllowance {
 public:
  bool take_for_pipe(int count) override {
    if (refuse) return false;
    held += count;
    return true;
  }
  void give_back(int count) override { held -= count; }
  bool refuse = false;
  std::atomic<int> held = 0;
};

Task<Outcome> relay_layered(RelayResources& resources, UniqueFd client, UniqueFd upstream_fd,
                            std::string early) {
  tune_relayed_tcp(client.get());
  const int fd = upstream_fd.get();
  auto client_side =
      *WatchedFd::create(resources.loop, std::move(client), Slot::kReadable | Slot::kWritable);
  Upstream upstream{
      .socket = *WatchedFd::create(resources.loop, std::move(upstream_fd), Slot::kWritable),
      .reported = {},
      .early_data = std::move(early)};
  upstream.layer = std::make_unique<FramedLayer>(fd);
  auto layered = LayeredRelay::create(resources, upstream);
  if (!layered) co_return Outcome{.reason = EndReason::refused};
  co_return co_await layered->run(client_side, upstream, nullptr);
}

class Layered : public ::testing::Test {
 protected:
  void start(std::string early = {}) {
    resources_ = std::make_unique<RelayResources>(thread_.loop(), allowance_, 60'000);
    outcome_ = thread_.start<Outcome>([this, early] {
      return relay_layered(*resources_, std::move(client_.far), std::move(upstream_.far), early);
    });
  }
  EndReason reason() {
    EXPECT_EQ(outcome_.wait_for(kDeadline), std::future_status::ready);
    return outcome_.get().reason;
  }
  ~Layered() override {
    thread_.loop().post([this] { thread_.loop().cancel_all(); });
    if (outcome_.valid()) outcome_.wait_for(kDeadline);
    thread_.start<int>([this] { return drop(); }).wait();  // pipes belong to the loop's thread
    EXPECT_EQ(allowance_.held, 0);
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

TEST_F(Layered, passes_messages_both_ways_the_early_ones_first) {
  start("220 ready ");
  send_all(upstream_.near.get(), frame("and willing"));
  EXPECT_EQ(receive(client_.near.get(), 21), "220 ready and willing");
  send_all(client_.near.get(), "ping");
  EXPECT_EQ(receive(upstream_.near.get(), 6), frame("ping"));
}

TEST_F(Layered, bulk_arrives_unharmed_in_both_directions_at_once) {
  start();
  const std::string up = random_bytes(3'000'000);
  const std::string down = random_bytes(2'900'001);
  std::jthread uploads([&] {
    send_all(client_.near.get(), up);
    ::shutdown(client_.near.get(), SHUT_WR);
  });
  std::jthread downloads([&] {
    send_all(upstream_.near.get(), frames(down) + kEnd);
    ::shutdown(upstream_.near.get(), SHUT_WR);
  });
  std::string sent_up;
  std::jthread reads([&] { sent_up = unframed(receive_to_end(upstream_.near.get())); });
  EXPECT_TRUE(receive_to_end(client_.near.get()) == down);
  reads.join();
  EXPECT_TRUE(sent_up == up + "|end");
  EXPECT_EQ(reason(), EndReason::closed);
}

TEST_F(Layered, a_half_close_is_said_and_the_other_direction_goes_on) {
  start();
  send_all(client_.near.get(), "question");
  ::shutdown(client_.near.get(), SHUT_WR);
  EXPECT_EQ(unframed(receive_to_end(upstream_.near.get())), "question|end");
  send_all(upstream_.near.get(), frame("answer") + kEnd);
  int error = 0;
  EXPECT_EQ(receive_to_end(client_.near.get(), &error), "answer");
  EXPECT_EQ(error, 0);
  EXPECT_EQ(reason(), EndReason::closed);
}

TEST_F(Layered, an_end_that_the_upstream_says_is_a_fin_and_the_client_goes_on) {
  start();
  send_all(upstream_.near.get(), frame("bye") + kEnd);
  int error = 0;
  EXPECT_EQ(receive_to_end(client_.near.get(), &error), "bye");
  EXPECT_EQ(error, 0);
  send_all(client_.near.get(), "still here");
  ::shutdown(client_.near.get(), SHUT_WR);
  EXPECT_EQ(unframed(receive_to_end(upstream_.near.get())), "still here|end");
  EXPECT_EQ(reason(), EndReason::closed);
}

TEST_F(Layered, an_upstream_that_breaks_off_is_a_reset) {
  start();
  send_all(upstream_.near.get(), frame("half a"));
  upstream_.near.reset();
  int error = 0;
  (void)receive_to_end(client_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(reason(), EndReason::upstream_reset);
}

TEST_F(Layered, an_upstream_that_breaks_off_after_the_clients_end_is_a_reset) {
  start();
  ::shutdown(client_.near.get(), SHUT_WR);
  EXPECT_EQ(unframed(receive_to_end(upstream_.near.get())), "|end");
  send_all(upstream_.near.get(), frame("half a"));
  EXPECT_EQ(receive(client_.near.get(), 6), "half a");
  upstream_.near.reset();
  int error = 0;
  (void)receive_to_end(client_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(reason(), EndReason::upstream_reset);
}

TEST_F(Layered, a_reset_by_the_upstream_is_a_reset) {
  start();
  reset_on_close(upstream_.near.get());
  upstream_.near.reset();
  int error = 0;
  (void)receive_to_end(client_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(reason(), EndReason::upstream_reset);
}

TEST_F(Layered, a_reset_by_the_client_reaches_the_upstream) {
  start();
  send_all(client_.near.get(), "x");
  EXPECT_EQ(receive(upstream_.near.get(), 3), frame("x"));
  reset_on_close(client_.near.get());
  client_.near.reset();
  int error = 0;
  (void)receive_to_end(upstream_.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(reason(), EndReason::client_reset);
}

TEST_F(Layered, a_reader_that_stalls_stops_the_sender) {
  start();
  const std::string block = frames(random_bytes(1 << 20));
  std::size_t sent = 0;
  // Until nothing is taken for a while: the sockets' buffers are full, and so are ours.
  while (sent < 256 * block.size()) {
    pollfd poll{.fd = upstream_.near.get(), .events = POLLOUT, .revents = 0};
    if (::poll(&poll, 1, 300) == 0) break;
    const ssize_t now = ::send(upstream_.near.get(), block.data() + sent % block.size(),
                               block.size() - sent % block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (now > 0) sent += static_cast<std::size_t>(now);
  }
  EXPECT_LT(sent, 64 * block.size());
}

TEST_F(Layered, without_descriptors_it_is_refused) {
  allowance_.refuse = true;
  start();
  EXPECT_EQ(reason(), EndReason::refused);
}

}  // namespace
}  // namespace shunt
