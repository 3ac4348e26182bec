// SPDX-License-Identifier: GPL-2.0-only
// A descriptor whose closing removes kernel state: an nftables owner socket, a TUN device, the lock
// of an instance. The state lives as long as ANY copy of the descriptor, so a forked child that
// outlives shunt would keep it (tried: the table stays in force with nobody behind it).
// Close-on-exec covers exec; for children that do not exec, every HeldFd is closed in the child by
// pthread_atfork(). That covers fork() and posix_spawn(), not a raw clone() without CLONE_FILES:
// call close_all_in_child() there.
#pragma once

#include "net/unique_fd.h"

namespace shunt {

class HeldFd {
 public:
  HeldFd() = default;
  /// Takes ownership and sets FD_CLOEXEC. Where limits::kHeldFds are held already the descriptor is
  /// closed: then valid() is false and errno EMFILE.
  explicit HeldFd(UniqueFd fd);
  /// Registers a descriptor that somebody else closes (a library); release() before that.
  static HeldFd borrow(int fd);
  HeldFd(HeldFd&& other) noexcept;
  HeldFd& operator=(HeldFd&& other) noexcept;
  ~HeldFd() { reset(); }

  /// -1 when empty, and in a forked child.
  [[nodiscard]] int get() const;
  [[nodiscard]] bool valid() const { return get() >= 0; }
  /// Closes the descriptor unless it is borrowed.
  void reset();

  /// For a child made by a raw clone(): closes what the parent holds. Async-signal-safe.
  static void close_all_in_child();

 private:
  int slot_ = -1;
  bool borrowed_ = false;
};

}  // namespace shunt
