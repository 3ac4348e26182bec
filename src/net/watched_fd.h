// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <utility>

#include "net/event_loop.h"

namespace shunt {

/// A descriptor that is registered with a loop: forgets it there before it closes it. Belongs to
/// the loop's thread. Nobody may be waiting on it when it goes.
class WatchedFd {
 public:
  WatchedFd() = default;
  /// Registers `fd`; on failure the descriptor is closed.
  static Result<WatchedFd> create(EventLoop& loop, UniqueFd fd, std::uint8_t assumed_ready) {
    auto slot = loop.watch(fd.get(), assumed_ready);
    if (!slot) return Failure(std::move(slot).error());
    return WatchedFd(loop, std::move(fd), *slot);
  }
  WatchedFd(WatchedFd&& other) noexcept
      : loop_(other.loop_), fd_(std::move(other.fd_)), slot_(std::exchange(other.slot_, nullptr)) {}
  WatchedFd& operator=(WatchedFd&& other) noexcept {
    if (this != &other) {
      reset();
      loop_ = other.loop_;
      fd_ = std::move(other.fd_);
      slot_ = std::exchange(other.slot_, nullptr);
    }
    return *this;
  }
  ~WatchedFd() { reset(); }

  void reset() {
    if (slot_ == nullptr) return;
    loop_->forget(fd_.get());
    slot_ = nullptr;
    fd_.reset();
  }

  [[nodiscard]] bool valid() const { return slot_ != nullptr; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] Slot& slot() const { return *slot_; }
  [[nodiscard]] EventLoop& loop() const { return *loop_; }

 private:
  WatchedFd(EventLoop& loop, UniqueFd fd, Slot* slot)
      : loop_(&loop), fd_(std::move(fd)), slot_(slot) {}
  EventLoop* loop_ = nullptr;
  UniqueFd fd_;
  Slot* slot_ = nullptr;
};

}  // namespace shunt
