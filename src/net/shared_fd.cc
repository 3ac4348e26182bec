// SPDX-License-Identifier: GPL-2.0-only
#include "net/shared_fd.h"

#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <latch>
#include <mutex>
#include <vector>

#include "base/counters.h"
#include "base/thread.h"

namespace shunt {
namespace {

constexpr std::size_t kMostLingering = 1'024;  // that wait to be closed, for microseconds each

bool lingers(int fd) {
  linger value{};
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, &size) != 0) return false;
  return value.l_onoff != 0 && value.l_linger > 0;
}

void stop_lingering(const UniqueFd& fd) {
  constexpr linger kNone{};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &kNone, sizeof kNone);
  count(Counter::lingers_cut);
}

/// While they are closed here a thread has copies of them. It exits after that: the last one to
/// close them is one that does not linger.
void close_all(std::vector<UniqueFd> sockets) {
  bool has_copies = false;
  std::latch copied(1);
  std::latch closed(1);
  auto keeper = start_thread([&has_copies, &copied, &closed] {
    has_copies = ::unshare(CLONE_FILES) == 0;
    copied.count_down();
    closed.wait();
  });
  if (keeper) copied.wait();
  if (!has_copies) std::ranges::for_each(sockets, stop_lingering);
  sockets.clear();
  closed.count_down();
}

/// Has a thread for as long as there is something to close.
class Closer {
 public:
  void take(UniqueFd fd) {
    if (queue(fd)) return;
    stop_lingering(fd);
    fd.reset();
  }

 private:
  /// False: there is no room, or nobody to do it.
  bool queue(UniqueFd& fd) {
    const std::scoped_lock lock(mutex_);
    if (!running_) {
      auto thread = start_thread([this] { run(); });
      if (!thread) return false;
      thread->detach();
      running_ = true;
    }
    if (sockets_.size() >= kMostLingering) return false;
    sockets_.push_back(std::move(fd));
    return true;
  }

  void run() {
    while (true) {
      std::vector<UniqueFd> batch;
      {
        const std::scoped_lock lock(mutex_);
        batch.swap(sockets_);
        running_ = !batch.empty();
        if (!running_) return;
      }
      close_all(std::move(batch));
    }
  }

  std::mutex mutex_;
  std::vector<UniqueFd> sockets_;  // with mutex_, as is running_
  bool running_ = false;
};

/// Never destroyed: its thread may outlive main().
Closer& closer() {
  static auto* const one = new Closer;
  return *one;
}

}  // namespace

void close_shared(UniqueFd fd) {
  if (fd.valid() && lingers(fd.get())) closer().take(std::move(fd));
}

}  // namespace shunt
