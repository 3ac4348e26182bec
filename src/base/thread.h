// SPDX-License-Identifier: GPL-2.0-only
// Threads that are started while shunt runs. std::thread throws where the kernel has none left
// (pids.max of a cgroup, RLIMIT_NPROC), and nothing here can catch that: it would end the process.
#pragma once

#include <pthread.h>

#include <functional>
#include <optional>

#include "base/result.h"

namespace shunt {

/// Is waited for when it goes, unless it was detached.
class Thread {
 public:
  Thread() = default;
  explicit Thread(pthread_t thread) : thread_(thread) {}
  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread() { join(); }

  [[nodiscard]] bool joinable() const { return thread_.has_value(); }
  /// Waits for its end; without a thread it does nothing.
  void join();
  /// From now on it ends by itself.
  void detach();

 private:
  std::optional<pthread_t> thread_;
};

/// With all signals blocked that are the main thread's business (base/thread_signals.h). On failure
/// `body` is not called.
Result<Thread> start_thread(std::move_only_function<void()> body);

}  // namespace shunt
