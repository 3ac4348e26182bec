// SPDX-License-Identifier: GPL-2.0-only
// Task<T>: a lazily started coroutine that is awaited exactly once and resumes its awaiter by
// symmetric transfer. Frames come from a per-thread free list (net/frame_pool.h), so a steady
// state allocates nothing.
//
// Rules of use: named coroutine functions only, no capturing lambdas; never destroy a Task that has
// started and not finished: cancel what it waits for and let it run to its end.
#pragma once

#include <coroutine>
#include <cstdlib>
#include <optional>
#include <type_traits>
#include <utility>

#include "net/frame_pool.h"

namespace shunt {

template <class T>
class Task;

namespace detail {

struct Join {
  int pending = 0;
  std::coroutine_handle<> continuation;
};

struct PromiseBase {
  std::coroutine_handle<> continuation;
  Join* join = nullptr;

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, std::size_t size) { free_frame(frame, size); }

  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> done) noexcept {
      PromiseBase& promise = done.promise();
      if (promise.join != nullptr) {
        if (--promise.join->pending > 0) return std::noop_coroutine();
        return promise.join->continuation;
      }
      return promise.continuation ? promise.continuation : std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };

  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::abort(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
    handle_.promise().continuation = awaiter;
    return handle_;
  }
  T await_resume() {
    if constexpr (!std::is_void_v<T>) return std::move(*handle_.promise().value);
  }

  [[nodiscard]] Handle handle() const { return handle_; }

 private:
  Handle handle_;
};

namespace detail {

template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

/// Fire-and-forget wrapper of spawn(); frees itself at its end.
struct Detached {
  struct promise_type {
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) { free_frame(frame, size); }
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    [[noreturn]] void unhandled_exception() noexcept { std::abort(); }
  };
};

class [[nodiscard]] Both {
 public:
  Both(Task<> first, Task<> second) : first_(std::move(first)), second_(std::move(second)) {}
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) {
    join_.pending = 3;  // the two, and this function: it must not be overtaken
    join_.continuation = awaiter;
    first_.handle().promise().join = &join_;
    second_.handle().promise().join = &join_;
    first_.handle().resume();
    second_.handle().resume();
    if (--join_.pending > 0) return std::noop_coroutine();
    return awaiter;
  }
  void await_resume() const noexcept {}

 private:
  Task<> first_;
  Task<> second_;
  Join join_;
};

}  // namespace detail

/// Runs two tasks side by side; done when both are.
inline detail::Both both(Task<> first, Task<> second) {
  return {std::move(first), std::move(second)};
}

/// Starts a task that nobody awaits. Only the gates that count and drain what they start may call
/// it: proxy/flow_set.h for flows, proxy/serve_udp.h for sessions, proxy/worker.h for acceptors.
inline detail::Detached spawn(Task<> task) { co_await task; }

}  // namespace shunt
