// SPDX-License-Identifier: GPL-2.0-only
#include "net/event_loop.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace shunt {
namespace {

constexpr int kEventBatch = 256;
constexpr std::uint64_t kTurnsUs = 4000;  // of those that yield, while nobody else is there
// Of Company. Who exchanges small messages as fast as they go is back well within a millisecond.
constexpr std::uint64_t kNowUs = 1000;
constexpr std::uint64_t kLatelyUs = 64'000;
constexpr std::size_t kMostSlots = 1U << 22;  // of a process whose limit is "unlimited"

// The loop's own descriptors, told apart from slots by a generation that no slot has.
constexpr std::uint64_t kTimerEvent = ~0ULL;
constexpr std::uint64_t kPostedEvent = ~0ULL - 1;

std::uint64_t monotonic_us() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

std::uint64_t monotonic_ms() { return monotonic_us() / 1000; }

std::uint8_t ready_bits(std::uint32_t events) {
  std::uint8_t bits = 0;
  if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
    bits |= Slot::kReadable;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) bits |= Slot::kWritable;
  if ((events & EPOLLPRI) != 0) bits |= Slot::kUrgent;
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) bits |= Slot::kPeerClosed;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) bits |= Slot::kFailed;
  return bits;
}

Result<void> add(int epoll, int fd, std::uint32_t events, std::uint64_t data) {
  epoll_event event{.events = events, .data = {.u64 = data}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    return Failure(errno_error("epoll_ctl(ADD)"));
  }
  return {};
}

}  // namespace

Result<UniqueFd> EventLoop::make_waker() {
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return Failure(errno_error("eventfd"));
  return fd;
}

Result<std::unique_ptr<EventLoop>> EventLoop::create() { return create(SHUNT_TRY(make_waker())); }

Result<std::unique_ptr<EventLoop>> EventLoop::create(UniqueFd waker) {
  std::unique_ptr<EventLoop> loop(new EventLoop);
  loop->epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  loop->timerfd_ = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  loop->eventfd_ = std::move(waker);
  if (!loop->epoll_.valid() || !loop->timerfd_.valid()) {
    return Failure(errno_error("cannot make an event loop"));
  }
  SHUNT_CHECK(add(loop->epoll_.get(), loop->timerfd_.get(), EPOLLIN, kTimerEvent));
  SHUNT_CHECK(add(loop->epoll_.get(), loop->eventfd_.get(), EPOLLIN, kPostedEvent));

  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  loop->slot_count_ = std::min<std::size_t>(files.rlim_max, kMostSlots);
  void* slots = mmap(nullptr, loop->slot_count_ * sizeof(Slot), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (slots == MAP_FAILED) return Failure(errno_error("cannot map the slot table"));
  loop->slots_ = static_cast<Slot*>(slots);
  loop->start_ms_ = monotonic_ms();
  loop->refresh_clock();
  return loop;
}

EventLoop::~EventLoop() {
  if (slots_ != nullptr) munmap(slots_, slot_count_ * sizeof(Slot));
}

Result<Slot*> EventLoop::watch(int fd, std::uint8_t assumed_ready) {
  if (static_cast<std::size_t>(fd) >= slot_count_) {
    return Failure(errno_error("descriptor beyond the slot table", EMFILE));
  }
  Slot& slot = slots_[fd];
  slot.reader = slot.writer = nullptr;
  slot.ready = assumed_ready;
  const std::uint64_t data =
      static_cast<std::uint64_t>(slot.generation) << 32 | static_cast<std::uint32_t>(fd);
  SHUNT_CHECK(add(epoll_.get(), fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET, data));
  highest_fd_ = std::max(highest_fd_, fd);
  return &slot;
}

void EventLoop::forget(int fd) {
  Slot& slot = slots_[fd];
  // Generations stay below the range of the loop's own two markers.
  slot.generation = (slot.generation + 1) & 0x7fff'ffff;
  slot.reader = slot.writer = nullptr;
  slot.ready = 0;
}

void EventLoop::unwatch(int fd) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  forget(fd);
}

void EventLoop::wake(Slot::Waiter*& waiter, Wake wake) {
  if (waiter == nullptr) return;
  waiter->wake = wake;
  queued_.push_back(waiter->handle);
  waiter = nullptr;
}

void EventLoop::cancel(Slot& slot) {
  wake(slot.reader, Wake::cancelled);
  wake(slot.writer, Wake::cancelled);
}

void EventLoop::cancel_all() {
  cancelled_ = true;
  for (int fd = 0; fd <= highest_fd_; ++fd) cancel(slots_[fd]);
  timers_.fire_all();
}

// Of a whole batch before anybody is resumed: a coroutine that one event wakes may use up what a
// later event of the batch speaks of, which would then claim readiness that is gone. The relay
// relies on it: what kReadable was set for is still there, and holds no urgent mark that kUrgent
// does not tell.
void EventLoop::note(const epoll_event& event) {
  Slot& slot = slots_[static_cast<std::uint32_t>(event.data.u64)];
  if (slot.generation == static_cast<std::uint32_t>(event.data.u64 >> 32)) {
    slot.ready |= ready_bits(event.events);
  }
}

// A woken coroutine runs at once, so a flow's read and the write that follows share a warm cache;
// it may close this very descriptor, hence the second look at the generation. False: nobody waited.
bool EventLoop::dispatch(const epoll_event& event) {
  const auto fd = static_cast<std::uint32_t>(event.data.u64);
  const auto generation = static_cast<std::uint32_t>(event.data.u64 >> 32);
  Slot& slot = slots_[fd];
  if (slot.generation != generation) return false;
  bool woken = false;
  if (slot.reader != nullptr && slot.has(Slot::kReadable)) {
    std::exchange(slot.reader, nullptr)->handle.resume();
    woken = true;
    if (slot.generation != generation) return woken;
  }
  if (slot.writer != nullptr && slot.has(Slot::kWritable)) {
    std::exchange(slot.writer, nullptr)->handle.resume();
    woken = true;
  }
  return woken;
}

void EventLoop::resume_queued() {
  running_.swap(queued_);
  for (auto handle : running_) handle.resume();
  running_.clear();
}

// Those that yield once more take their next turn after the next look for events.
void EventLoop::take_turns() {
  if (yielded_.empty()) return;
  const std::uint64_t until = monotonic_us() + kTurnsUs;
  const std::size_t waiting = yielded_.size();
  std::size_t taken = 0;
  while (taken < waiting) {
    const auto handle = yielded_[taken++];
    handle.resume();
    if (company() != Company::none || monotonic_us() >= until) break;
  }
  yielded_.erase(yielded_.begin(), yielded_.begin() + static_cast<std::ptrdiff_t>(taken));
}

void EventLoop::run_posted() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto ignored = ::read(eventfd_.get(), &count, sizeof count);
  std::vector<std::move_only_function<void()>> work;
  {
    const std::scoped_lock lock(posted_mutex_);
    work.swap(posted_);
  }
  for (auto& item : work) item();
}

void EventLoop::refresh_clock() {
  batch_us_ = monotonic_us();
  tick_ = (batch_us_ / 1000 - start_ms_) / kTickMs;
}

Company EventLoop::company() const {
  const std::uint64_t ago_us = batch_us_ - last_unyielding_us_;
  if (ago_us <= kNowUs) return Company::now;
  return ago_us <= kLatelyUs ? Company::lately : Company::none;
}

// By the clock and not by tick_, which is as old as this batch of events: so a deadline is late by
// one tick at most. The millisecond that monotonic_ms() leaves out of its answer is put on top.
Tick EventLoop::in(std::uint32_t ms) const {
  return (monotonic_ms() - start_ms_ + ms + 1 + kTickMs - 1) / kTickMs;
}

void EventLoop::arm_timerfd() {
  const Tick next = timers_.next_tick();
  if (next >= timerfd_armed_for_) return;  // an early look is harmless, a late one is not
  const std::uint64_t at_ms = start_ms_ + next * kTickMs;
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(at_ms / 1000);
  when.it_value.tv_nsec = static_cast<long>(at_ms % 1000) * 1'000'000;
  timerfd_settime(timerfd_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
  timerfd_armed_for_ = next;
}

Result<void> EventLoop::run() {
  while (!stopping_.load(std::memory_order_acquire)) {
    arm_timerfd();
    SHUNT_CHECK(take_events());
    resume_queued();
    take_turns();
  }
  return {};
}

Result<void> EventLoop::take_events() {
  epoll_event events[kEventBatch];
  const bool idle = queued_.empty() && yielded_.empty();
  const int count = epoll_wait(epoll_.get(), events, kEventBatch, idle ? -1 : 0);
  if (count < 0) {
    if (errno == EINTR) return {};
    return Failure(errno_error("epoll_wait"));
  }
  refresh_clock();
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 != kTimerEvent && events[i].data.u64 != kPostedEvent) note(events[i]);
  }
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 == kTimerEvent) {
      std::uint64_t expirations = 0;
      [[maybe_unused]] const auto ignored =
          ::read(timerfd_.get(), &expirations, sizeof expirations);
      timerfd_armed_for_ = TimerWheel::kNever;
      timers_.advance(tick_);
    } else if (events[i].data.u64 == kPostedEvent) {
      run_posted();
    } else {
      const std::size_t yielded = yielded_.size();
      if (dispatch(events[i]) && yielded_.size() == yielded) {
        last_unyielding_us_ = batch_us_;
      }
    }
  }
  return {};
}

void EventLoop::stop() {
  stopping_.store(true, std::memory_order_release);
  post([] {});
}

void EventLoop::post(std::move_only_function<void()> work) {
  {
    const std::scoped_lock lock(posted_mutex_);
    posted_.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(eventfd_.get(), &one, sizeof one);
}

}  // namespace shunt
