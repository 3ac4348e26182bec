// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/held_fd.h"

#include <fcntl.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

#include "base/limits.h"

namespace shunt {
namespace {

constexpr int kFree = -1;
constexpr int kClosedInChild = -2;

struct Slot {
  std::atomic<int> fd = kFree;
};

// Lock-free, since the child of fork() may not take a lock that another thread held.
constinit std::array<Slot, limits::kHeldFds> held;

int take_slot(int fd) {
  [[maybe_unused]] static const int registered =
      ::pthread_atfork(nullptr, nullptr, &HeldFd::close_all_in_child);
  for (std::size_t i = 0; i < held.size(); ++i) {
    int expected = kFree;
    if (held[i].fd.compare_exchange_strong(expected, fd)) return static_cast<int>(i);
  }
  errno = EMFILE;
  return -1;
}

std::atomic<int>& slot_at(int index) { return held[static_cast<std::size_t>(index)].fd; }

}  // namespace

HeldFd::HeldFd(UniqueFd fd) : HeldFd(borrow(fd.get())) {
  borrowed_ = false;
  if (slot_ >= 0) static_cast<void>(fd.release());  // else it is closed here: get() says -1
}

HeldFd HeldFd::borrow(int fd) {
  HeldFd result;
  result.borrowed_ = true;
  if (fd < 0) return result;
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  result.slot_ = take_slot(fd);
  return result;
}

HeldFd::HeldFd(HeldFd&& other) noexcept
    : slot_(std::exchange(other.slot_, -1)), borrowed_(other.borrowed_) {}

HeldFd& HeldFd::operator=(HeldFd&& other) noexcept {
  if (this != &other) {
    reset();
    slot_ = std::exchange(other.slot_, -1);
    borrowed_ = other.borrowed_;
  }
  return *this;
}

int HeldFd::get() const {
  if (slot_ < 0) return -1;
  const int fd = slot_at(slot_).load();
  return fd == kClosedInChild ? -1 : fd;
}

void HeldFd::reset() {
  if (slot_ < 0) return;
  const int fd = slot_at(std::exchange(slot_, -1)).exchange(kFree);
  if (fd >= 0 && !borrowed_) ::close(fd);
}

void HeldFd::close_all_in_child() {
  for (auto& [slot] : held) {
    const int fd = slot.load();
    if (fd < 0) continue;
    slot.store(kClosedInChild);
    ::close(fd);
  }
}

}  // namespace shunt
