// SPDX-License-Identifier: GPL-2.0-only
// A descriptor of an open file that another process has, too.
//
// Whoever closes the last descriptor of a socket with SO_LINGER waits until its peer has taken
// everything, for up to 18 hours and whatever O_NONBLOCK says (socket(7)). Who is last is not known
// before. This one never waits: the kernel lets nobody linger who exits (inet_release(),
// net/ipv4/af_inet.c), so such a socket is left to a thread that has descriptors of its own, and
// exits. Where there can be no such thread, or too many are waiting for it already, SO_LINGER is
// cleared, for whoever else has the socket, too: what is left to send is sent all the same.
#pragma once

#include <utility>

#include "net/unique_fd.h"

namespace shunt {

/// Closes without waiting. Any thread.
void close_shared(UniqueFd fd);

/// Owns one, as UniqueFd does.
class SharedFd {
 public:
  SharedFd() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): it is one, that is closed with more care
  SharedFd(UniqueFd fd) : fd_(std::move(fd)) {}
  SharedFd(SharedFd&&) noexcept = default;
  SharedFd& operator=(SharedFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::move(other.fd_);
    }
    return *this;
  }
  SharedFd(const SharedFd&) = delete;
  SharedFd& operator=(const SharedFd&) = delete;
  ~SharedFd() { reset(); }

  [[nodiscard]] int get() const { return fd_.get(); }
  [[nodiscard]] bool valid() const { return fd_.valid(); }
  void reset() {
    if (fd_.valid()) close_shared(std::move(fd_));
  }

 private:
  UniqueFd fd_;
};

}  // namespace shunt
