// SPDX-License-Identifier: GPL-2.0-only
// An event loop on a thread of its own, for tests that play the network's part with blocking
// sockets on theirs.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "net/event_loop.h"
#include "net/task.h"

namespace shunt::test {

class LoopThread {
 public:
  LoopThread() : loop_(std::move(EventLoop::create()).value()) {
    thread_ = std::jthread([this] { EXPECT_TRUE(loop_->run()); });
  }
  ~LoopThread() { loop_->stop(); }

  EventLoop& loop() { return *loop_; }

  /// Starts the task that `make` returns on the loop's thread; the future is ready when it ended.
  template <class T, class Make>
  std::future<T> start(Make make) {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    loop_->post([make = std::move(make), promise]() mutable { spawn(fulfil<T>(make(), promise)); });
    return future;
  }

 private:
  template <class T>
  static Task<> fulfil(Task<T> task, std::shared_ptr<std::promise<T>> promise) {
    promise->set_value(co_await task);
  }

  std::unique_ptr<EventLoop> loop_;
  std::jthread thread_;
};

}  // namespace shunt::test
