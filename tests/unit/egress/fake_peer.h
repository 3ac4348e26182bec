// SPDX-License-Identifier: GPL-2.0-only
// Scripted peers on loopback. They run as coroutines on the loop of the code under test, so that
// every order of events is chosen by the script and nothing sleeps.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "egress/way_out.h"
#include "net/event_loop.h"
#include "net/socket.h"

namespace shunt::test {

using namespace std::string_literals;

inline constexpr std::uint32_t kPatienceMs = 5'000;

struct Step {
  enum class Do : std::uint8_t { expect, send, yield, close, reset, stall };
  Do what;
  std::string bytes;
};
using Script = std::vector<Step>;

inline Step expect(std::string bytes) { return {Step::Do::expect, std::move(bytes)}; }
inline Step say(std::string bytes) { return {Step::Do::send, std::move(bytes)}; }
inline Step turn() { return {Step::Do::yield, {}}; }  ///< lets the other side act first
inline Step hang_up() { return {Step::Do::close, {}}; }
inline Step reset() { return {Step::Do::reset, {}}; }
inline Step stall() { return {Step::Do::stall, {}}; }  ///< until the other side closes

template <class T>
Task<> store(Task<T> task, std::optional<T>& result) {
  result.emplace(co_await std::move(task));
}

inline Task<> then_stop(Task<> first, Task<> second, EventLoop& loop) {
  co_await both(std::move(first), std::move(second));
  loop.stop();
}

inline Task<> nothing() { co_return; }

/// One loop, one task under test, and what goes on beside it.
class Stage {
 public:
  Stage() : loop_(std::move(*EventLoop::create())) {}
  EventLoop& loop() { return *loop_; }

  template <class T>
  T run(Task<T> task, Task<> beside) {
    std::optional<T> result;
    spawn(then_stop(store(std::move(task), result), std::move(beside), *loop_));
    EXPECT_TRUE(loop_->run().has_value());
    return std::move(*result);
  }
  template <class T>
  T run(Task<T> task) {
    return run(std::move(task), nothing());
  }

 private:
  std::unique_ptr<EventLoop> loop_;
};

/// Plays one script for each connection it accepts, in their order, side by side.
class FakePeer {
 public:
  /// Lives no longer than the stage.
  FakePeer(Stage& stage, std::vector<Script> scripts, Family family = Family::ipv4)
      : loop_(stage.loop()), scripts_(scripts.begin(), scripts.end()) {
    auto fd = make_socket(family, SocketType::stream);
    if (!fd || !bind_to(fd->get(), {Address::loopback(family), 0})) return;
    if (::listen(fd->get(), 64) != 0) return;
    address_ = local_endpoint(fd->get()).value_or(Endpoint{});
    auto listener = WatchedFd::create(loop_, std::move(*fd), 0);
    if (listener) listener_ = std::move(*listener);
  }

  /// Where it listens; port 0 when this machine has no such loopback address.
  [[nodiscard]] const Endpoint& address() const { return address_; }
  [[nodiscard]] std::size_t connections() const { return connections_; }

  /// From now on connections are refused.
  void stop_listening() { listener_.reset(); }

  /// Done when every script is played.
  Task<> serve() {
    while (listener_.valid() && !scripts_.empty()) {
      const Wake wake = co_await loop_.readable(listener_.slot(), kPatienceMs);
      if (wake == Wake::cancelled) break;
      if (wake != Wake::ready) {
        ADD_FAILURE() << scripts_.size() << " scripted connections never came";
        break;
      }
      UniqueFd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.valid()) {
        listener_.slot().clear(Slot::kReadable);
        continue;
      }
      ++connections_;
      auto client = WatchedFd::create(loop_, std::move(fd), Slot::kWritable);
      if (!client) break;
      ++playing_;
      spawn(play(std::move(*client), std::move(scripts_.front())));
      scripts_.pop_front();
    }
    while (playing_ > 0) (void)co_await loop_.yield();
  }

  /// Connections whose scripts did not end in a close.
  std::vector<WatchedFd>& kept() { return kept_; }

 private:
  Task<> play(WatchedFd client, Script script) {
    for (const Step& step : script) {
      switch (step.what) {
        case Step::Do::expect: co_await receive(loop_, client, step.bytes); break;
        case Step::Do::send:
          ::send(client.fd(), step.bytes.data(), step.bytes.size(), MSG_NOSIGNAL);
          break;
        case Step::Do::yield:
          (void)co_await loop_.yield();  // the first ends this turn, the second the next one
          (void)co_await loop_.yield();
          break;
        case Step::Do::reset: reset_on_close(client.fd()); [[fallthrough]];
        case Step::Do::close: client.reset(); break;
        case Step::Do::stall: co_await drain(loop_, client); break;
      }
    }
    if (client.valid()) kept_.push_back(std::move(client));
    --playing_;
  }

  static Task<> receive(EventLoop& loop, WatchedFd& client, const std::string& expected) {
    std::string got;
    while (got.size() < expected.size()) {
      char buffer[4096];
      const std::size_t room = std::min(sizeof buffer, expected.size() - got.size());
      const auto count = ::recv(client.fd(), buffer, room, 0);
      if (count > 0) {
        got.append(buffer, static_cast<std::size_t>(count));
        continue;
      }
      if (count == 0 || errno != EAGAIN) break;
      client.slot().clear(Slot::kReadable);
      const Wake wake = co_await loop.readable(client.slot(), kPatienceMs);
      if (wake != Wake::ready) break;
    }
    EXPECT_EQ(got, expected);
  }

  static Task<> drain(EventLoop& loop, WatchedFd& client) {
    for (;;) {
      char buffer[4096];
      const auto count = ::recv(client.fd(), buffer, sizeof buffer, 0);
      if (count > 0) continue;
      if (count == 0 || errno != EAGAIN) co_return;
      client.slot().clear(Slot::kReadable);
      const Wake wake = co_await loop.readable(client.slot(), kPatienceMs);
      if (wake != Wake::ready) co_return;
    }
  }

  EventLoop& loop_;
  WatchedFd listener_;
  Endpoint address_;
  std::deque<Script> scripts_;
  std::vector<WatchedFd> kept_;
  std::size_t connections_ = 0;
  int playing_ = 0;
};

inline Flow flow_to(const Endpoint& destination, Protocol protocol = Protocol::tcp) {
  Flow flow;
  flow.protocol = protocol;
  flow.source = {*Address::parse("192.0.2.10"), 40000};
  flow.original_destination = destination;
  return flow;
}

}  // namespace shunt::test
