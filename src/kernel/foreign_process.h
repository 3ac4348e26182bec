// SPDX-License-Identifier: GPL-2.0-only
// Another process's memory and descriptors, for whoever answers its system calls. What ptrace(2)
// asks is asked here too: the same user, a process that may be dumped, and with Yama's ptrace_scope
// a descendant of this one or CAP_SYS_PTRACE.
//
// Threads are named by number. A number may go to another process at any time, so nothing that was
// read may be acted on before CallTrap::waits() has said that the thread is still there. For what
// is written, having asked just before is enough: numbers are given out in turn, so one comes back
// after tens of thousands of others at the earliest, or to who may choose it (clone3(2) with
// set_tid, which takes CAP_CHECKPOINT_RESTORE).
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "base/lru_map.h"
#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt {

class ForeignProcesses {
 public:
  /// A copy of the descriptor `fd` of the process that `thread` belongs to (pidfd_getfd(2)): the
  /// same open file, whatever the process does with its number. Or the errno: EBADF where it has
  /// none of that number, or (before Linux 6.9) its main thread has ended; ENOBUFS where this
  /// process can have no more descriptors. `fd` may block when it is closed: net/shared_fd.h.
  std::expected<UniqueFd, int> descriptor(pid_t thread, int fd);

  /// Descriptors that it keeps open, so that a process that calls again and again is found at once.
  static constexpr std::size_t kKept = 16;

 private:
  using Processes = LruMap<pid_t, UniqueFd>;  // pidfds; one of a process that is gone says so
  std::expected<UniqueFd, int> copy_descriptor(pid_t thread, int fd);
  Processes processes_{kKept};
};

/// All `size` bytes or, with the errno (EFAULT, EPERM, ESRCH), none that count.
std::expected<void, int> read_memory(pid_t thread, std::uint64_t address, void* into,
                                     std::size_t size);
std::expected<void, int> write_memory(pid_t thread, std::uint64_t address, const void* from,
                                      std::size_t size);
/// The same over pieces of the other's memory, which are at most 1024 (IOV_MAX).
std::expected<void, int> gather_memory(pid_t thread, std::span<const iovec> pieces, void* into,
                                       std::size_t size);
std::expected<void, int> scatter_memory(pid_t thread, std::span<const iovec> pieces,
                                        const void* from, std::size_t size);

template <class T>
std::expected<T, int> read_value(pid_t thread, std::uint64_t address) {
  T value{};
  if (const auto done = read_memory(thread, address, &value, sizeof value); !done) {
    return std::unexpected(done.error());
  }
  return value;
}

/// Whether this process may look into those of its user that are not its descendants; the Error
/// names the switch. `instead` is what the user may do where descendants can be looked into: it is
/// offered beside the switch.
Result<void> check_foreign_access(std::string_view instead);

/// What mends it at kernel.yama.ptrace_scope `scope`, "1" to "3".
[[nodiscard]] std::string foreign_access_fix(std::string_view scope, std::string_view instead);

}  // namespace shunt
