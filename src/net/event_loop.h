// SPDX-License-Identifier: GPL-2.0-only
// One event loop for each worker thread: epoll, edge-triggered, a timer wheel, and awaitables.
//
// Every descriptor has one persistent Slot. It is registered once, for reading, writing, peer
// shutdown and urgent data; the kernel then reports each change once (edge-triggered) and the slot
// remembers it as a ready bit until a system call answers EAGAIN and the user clears it. So an
// awaitable whose bit is set does not suspend, and there is no epoll_ctl in the life of a relay.
//
// An event carries the slot's generation, which forget() raises: an event that was already fetched
// for a descriptor closed meanwhile, and perhaps reused, is dropped.
//
// Measured (1 % against a plain state machine): epoll_wait without a timeout plus one rarely
// re-armed timerfd; a deadline costs one store. Everything but post() and stop() belongs to the
// loop's own thread.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "net/timer_wheel.h"
#include "net/unique_fd.h"

namespace shunt {

enum class Wake : std::uint8_t {
  ready,
  timeout,    ///< the deadline passed first
  cancelled,  ///< cancel() or cancel_all(): end what you do
};

/// The loop's record of one descriptor. All zero is a valid idle slot.
struct Slot {
  static constexpr std::uint8_t kReadable = 1;
  static constexpr std::uint8_t kWritable = 2;
  static constexpr std::uint8_t kUrgent = 4;      ///< EPOLLPRI was seen
  static constexpr std::uint8_t kPeerClosed = 8;  ///< EPOLLRDHUP was seen: a FIN is queued
  static constexpr std::uint8_t kFailed = 16;     ///< EPOLLERR or EPOLLHUP was seen

  /// Where a waiter stores why it was woken; lives in the waiting coroutine's frame.
  struct Waiter {
    std::coroutine_handle<> handle;
    Wake wake = Wake::ready;
  };

  Waiter* reader;
  Waiter* writer;
  std::uint32_t generation;
  std::uint8_t ready;

  [[nodiscard]] bool has(std::uint8_t bits) const { return (ready & bits) != 0; }
  void clear(std::uint8_t bits) { ready &= static_cast<std::uint8_t>(~bits); }
};

/// Whom those that yield have beside them: when somebody was last woken who did not.
enum class Company : std::uint8_t { none, lately, now };

class EventLoop {
 public:
  /// Fails only when the process is out of descriptors or memory.
  static Result<std::unique_ptr<EventLoop>> create();
  /// For a loop of a thread with a descriptor table of its own (base/descriptor_table.h): what
  /// stop() and post() wake it by must be open in the tables of those who call them.
  static Result<std::unique_ptr<EventLoop>> create(UniqueFd waker);
  static Result<UniqueFd> make_waker();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Registers a non-blocking descriptor. `assumed_ready` are the ready bits to start with: a first
  /// system call is then tried before any event. The caller keeps ownership of `fd`.
  Result<Slot*> watch(int fd, std::uint8_t assumed_ready);
  /// Call before closing a watched descriptor. Nobody may be waiting on it.
  void forget(int fd);
  /// The same for a descriptor that lives on, and may be watched again.
  void unwatch(int fd);
  /// Wakes whoever waits on the slot with Wake::cancelled, in the loop's next turn.
  void cancel(Slot& slot);
  /// Wakes everyone who waits on this loop with Wake::cancelled; later waits end so at once.
  void cancel_all();
  [[nodiscard]] bool cancelled() const { return cancelled_; }

  /// Runs until stop(). Returns early only on a failure of epoll itself.
  Result<void> run();
  void stop();                                      ///< any thread
  void post(std::move_only_function<void()> work);  ///< any thread; runs on the loop's thread

  /// The first tick that lies at least `ms` milliseconds ahead of now.
  [[nodiscard]] Tick in(std::uint32_t ms) const;
  [[nodiscard]] Tick now_tick() const { return tick_; }  ///< as of this batch of events
  TimerWheel& timers() { return timers_; }

  class ReadyAwaiter;
  class DeadlineAwaiter;
  class SleepAwaiter;
  class YieldAwaiter;
  /// Waits for the slot to be readable (data, FIN, error) or writable. The caller's flow must have
  /// a deadline of its own that cancels the slot (relay/relay.cc).
  ReadyAwaiter readable(Slot& slot);
  ReadyAwaiter writable(Slot& slot);
  /// The same, for at most `ms`.
  DeadlineAwaiter readable(Slot& slot, std::uint32_t ms);
  DeadlineAwaiter writable(Slot& slot, std::uint32_t ms);
  SleepAwaiter sleep(std::uint32_t ms);
  /// Lets every flow go first that is ready now, or becomes so while those that have yielded before
  /// take their turns: bulk transfers keep nobody waiting. The loop looks for events after each
  /// turn while company() is not none, else after some.
  YieldAwaiter yield();
  /// The closer it is, the shorter a turn should be.
  [[nodiscard]] Company company() const;

 private:
  EventLoop() = default;
  void note(const epoll_event& event);
  bool dispatch(const epoll_event& event);
  void wake(Slot::Waiter*& waiter, Wake wake);

  Result<void> take_events();
  void resume_queued();
  void take_turns();
  void run_posted();
  void refresh_clock();
  void arm_timerfd();

  UniqueFd epoll_;
  UniqueFd timerfd_;
  UniqueFd eventfd_;
  Slot* slots_ = nullptr;  // one for each possible descriptor; zero pages until touched
  std::size_t slot_count_ = 0;
  int highest_fd_ = -1;
  TimerWheel timers_;
  Tick tick_ = 0;
  std::uint64_t batch_us_ = 0;            // when the last events were taken
  std::uint64_t last_unyielding_us_ = 0;  // who was woken by them did not yield
  Tick timerfd_armed_for_ = TimerWheel::kNever;
  std::uint64_t start_ms_ = 0;
  bool cancelled_ = false;
  std::vector<std::coroutine_handle<>> queued_;
  std::vector<std::coroutine_handle<>> running_;
  std::vector<std::coroutine_handle<>> yielded_;
  std::atomic<bool> stopping_ = false;
  std::mutex posted_mutex_;
  std::vector<std::move_only_function<void()>> posted_;
};

class EventLoop::ReadyAwaiter {
 public:
  ReadyAwaiter(EventLoop& loop, Slot& slot, std::uint8_t bit)
      : slot_(slot), bit_(bit), loop_(loop) {
    waiter_.wake = Wake::ready;
  }
  bool await_ready() {
    if (loop_.cancelled_) waiter_.wake = Wake::cancelled;
    return loop_.cancelled_ || slot_.has(bit_);
  }
  void await_suspend(std::coroutine_handle<> handle) {
    waiter_.handle = handle;
    (bit_ == Slot::kReadable ? slot_.reader : slot_.writer) = &waiter_;
  }
  Wake await_resume() const { return waiter_.wake; }

 protected:
  Slot& slot_;
  std::uint8_t bit_;
  EventLoop& loop_;
  Slot::Waiter waiter_;
};

class EventLoop::DeadlineAwaiter : public ReadyAwaiter {
 public:
  DeadlineAwaiter(EventLoop& loop, Slot& slot, std::uint8_t bit, std::uint32_t ms)
      : ReadyAwaiter(loop, slot, bit), timer_(this, &DeadlineAwaiter::expired), ms_(ms) {}
  void await_suspend(std::coroutine_handle<> handle) {
    ReadyAwaiter::await_suspend(handle);
    loop_.timers().arm(timer_, loop_.in(ms_));
  }
  Wake await_resume() {
    loop_.timers().disarm(timer_);
    return waiter_.wake;
  }

 private:
  struct OwnedTimer : Timer {
    OwnedTimer(DeadlineAwaiter* the_owner, Callback callback) : Timer(callback), owner(the_owner) {}
    DeadlineAwaiter* owner;
  };
  static void expired(Timer& timer) {
    auto& self = *static_cast<OwnedTimer&>(timer).owner;
    auto& waiter = self.bit_ == Slot::kReadable ? self.slot_.reader : self.slot_.writer;
    if (waiter == &self.waiter_) self.loop_.wake(waiter, Wake::timeout);
  }
  OwnedTimer timer_;
  std::uint32_t ms_;
};

class EventLoop::SleepAwaiter {
 public:
  SleepAwaiter(EventLoop& loop, std::uint32_t ms)
      : timer_(this, &SleepAwaiter::expired), loop_(loop), ms_(ms) {}
  bool await_ready() const { return loop_.cancelled_; }
  void await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    loop_.timers().arm(timer_, loop_.in(ms_));
  }
  /// timeout is the normal end of a sleep.
  Wake await_resume() const { return loop_.cancelled_ ? Wake::cancelled : Wake::timeout; }

 private:
  struct OwnedTimer : Timer {
    OwnedTimer(SleepAwaiter* the_owner, Callback callback) : Timer(callback), owner(the_owner) {}
    SleepAwaiter* owner;
  };
  static void expired(Timer& timer) {
    auto& self = *static_cast<OwnedTimer&>(timer).owner;
    self.loop_.queued_.push_back(self.handle_);
  }
  OwnedTimer timer_;
  EventLoop& loop_;
  std::uint32_t ms_;
  std::coroutine_handle<> handle_;
};

class EventLoop::YieldAwaiter {
 public:
  explicit YieldAwaiter(EventLoop& loop) : loop_(loop) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { loop_.yielded_.push_back(handle); }
  Wake await_resume() const { return loop_.cancelled_ ? Wake::cancelled : Wake::ready; }

 private:
  EventLoop& loop_;
};

inline auto EventLoop::readable(Slot& slot) -> ReadyAwaiter {
  return {*this, slot, Slot::kReadable};
}
inline auto EventLoop::writable(Slot& slot) -> ReadyAwaiter {
  return {*this, slot, Slot::kWritable};
}
inline auto EventLoop::readable(Slot& slot, std::uint32_t ms) -> DeadlineAwaiter {
  return {*this, slot, Slot::kReadable, ms};
}
inline auto EventLoop::writable(Slot& slot, std::uint32_t ms) -> DeadlineAwaiter {
  return {*this, slot, Slot::kWritable, ms};
}
inline auto EventLoop::sleep(std::uint32_t ms) -> SleepAwaiter { return {*this, ms}; }
inline auto EventLoop::yield() -> YieldAwaiter { return YieldAwaiter(*this); }

}  // namespace shunt
