// SPDX-License-Identifier: GPL-2.0-only
// Where instances keep their records, and the lock under which they change: see kernel/instance.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/held_fd.h"

namespace shunt {

/// RUN: the folder of all records. Makes it if need be; the Error says what was tried.
Result<std::string> run_directory();
/// The same if it is there already, else "": for those who only look.
std::string existing_run_directory();
/// The same, and for root /run/shunt as well where it is another user's (that of the service): to
/// be read only. What its owner could plant there must not be written, or written to.
std::vector<std::string> readable_run_directories();

/// The folder RUN/BOOT-NETNS of the calling thread's network namespace; does not make it.
Result<std::string> namespace_directory(std::string_view run);

/// Held while anything below RUN changes: milliseconds. Waits for at most kWaitMs: a holder that
/// was stopped must not hang every other shunt.
class StateLock {
 public:
  static constexpr int kWaitMs = 5000;
  static Result<StateLock> take(std::string_view run);

 private:
  explicit StateLock(HeldFd fd) : fd_(std::move(fd)) {}
  HeldFd fd_;
};

/// Takes an exclusive flock on the file; false if somebody else has it.
Result<bool> try_lock(int fd);

}  // namespace shunt
