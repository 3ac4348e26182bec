// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/descriptor_table.h"

namespace shunt {

/// Owns one file descriptor, of the table of the thread that made it. Move-only; moving onto an
/// open one closes it first. A thread with another table closes nothing: the number is somebody
/// else's there, and what it stood for goes with its own table.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd), table_(DescriptorTable::current()) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)), table_(other.table_) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
      table_ = other.table_;
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  /// Valid, and of the calling thread's table.
  [[nodiscard]] bool is_here() const { return valid() && table_ == DescriptorTable::current(); }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  /// Closes the descriptor, if any; errno is kept.
  void reset() {
    if (fd_ < 0) return;
    const int fd = std::exchange(fd_, -1);
    if (table_ != DescriptorTable::current()) return;
    const int saved = errno;
    ::close(fd);
    errno = saved;
  }
  /// The calling thread's table has kept it, under its number: from now on it is this thread's.
  void adopt() { table_ = DescriptorTable::current(); }

 private:
  int fd_ = -1;
  std::uint32_t table_ = 0;
};

}  // namespace shunt
