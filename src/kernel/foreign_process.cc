// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/foreign_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "base/error_numbers.h"
#include "kernel/capabilities.h"
#include "kernel/process_facts.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

constexpr unsigned kPidfdThread = O_EXCL;  // PIDFD_THREAD, linux/pidfd.h, Linux 6.9

UniqueFd open_pidfd(pid_t thread) {
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, thread, kPidfdThread)));
  if (fd.valid() || errno != EINVAL) return fd;
  if (const auto process = process_of_thread(thread)) {
    fd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, *process, 0)));
  }
  return fd;
}

using Transfer = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long,
                             unsigned long);

std::expected<void, int> transfer(Transfer function, pid_t thread, void* local, std::size_t size,
                                  std::span<const iovec> pieces) {
  if (size == 0) return {};
  const iovec here{.iov_base = local, .iov_len = size};
  const ssize_t moved = function(thread, &here, 1, pieces.data(), pieces.size(), 0);
  if (moved < 0) return std::unexpected(errno);
  if (static_cast<std::size_t>(moved) != size) return std::unexpected(EFAULT);
  return {};
}

iovec piece_at(std::uint64_t address, std::size_t size) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it is another process's
  return {.iov_base = reinterpret_cast<void*>(address), .iov_len = size};
}

bool is_shortage(int os_error) { return os_error == EMFILE || os_error == ENFILE; }

}  // namespace

std::expected<UniqueFd, int> ForeignProcesses::descriptor(pid_t thread, int fd) {
  auto copy = copy_descriptor(thread, fd);
  if (copy || !is_shortage(copy.error())) return copy;
  processes_ = Processes(kKept);  // they are luxury
  copy = copy_descriptor(thread, fd);
  if (copy || !is_shortage(copy.error())) return copy;
  count(Counter::descriptors_short);
  return std::unexpected(ENOBUFS);  // EMFILE would be about the program's own
}

std::expected<UniqueFd, int> ForeignProcesses::copy_descriptor(pid_t thread, int fd) {
  for (const bool again : {false, true}) {
    UniqueFd* process = processes_.find(thread);
    const bool kept = process != nullptr;
    if (!kept) {
      UniqueFd opened = open_pidfd(thread);
      if (!opened.valid()) return std::unexpected(errno);
      process = &processes_.set(thread, std::move(opened));
    }
    UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, process->get(), fd, 0)));
    if (copy.valid()) return copy;
    const int error = errno;
    if (error == EBADF || is_shortage(error)) return std::unexpected(error);
    processes_.erase(thread);  // ESRCH: the number has gone to another
    if (!kept || again) return std::unexpected(error);
  }
  return std::unexpected(ESRCH);
}

std::expected<void, int> read_memory(pid_t thread, std::uint64_t address, void* into,
                                     std::size_t size) {
  const iovec there = piece_at(address, size);
  return transfer(::process_vm_readv, thread, into, size, {&there, 1});
}

std::expected<void, int> write_memory(pid_t thread, std::uint64_t address, const void* from,
                                      std::size_t size) {
  const iovec there = piece_at(address, size);
  return transfer(::process_vm_writev, thread, const_cast<void*>(from), size, {&there, 1});
}

std::expected<void, int> gather_memory(pid_t thread, std::span<const iovec> pieces, void* into,
                                       std::size_t size) {
  return transfer(::process_vm_readv, thread, into, size, pieces);
}

std::expected<void, int> scatter_memory(pid_t thread, std::span<const iovec> pieces,
                                        const void* from, std::size_t size) {
  return transfer(::process_vm_writev, thread, const_cast<void*>(from), size, pieces);
}

// Documentation/admin-guide/LSM/Yama.rst
std::string foreign_access_fix(std::string_view scope, std::string_view instead) {
  if (scope.starts_with('3')) return "ptrace_scope 3 stays until the next boot: start without it";
  const std::string open = "sudo sysctl kernel.yama.ptrace_scope=0";
  return scope.starts_with('1') ? fmt::format("{}, or {}", instead, open) : open;
}

Result<void> check_foreign_access(std::string_view instead) {
  const auto scope = read_text_file("/proc/sys/kernel/yama/ptrace_scope");
  const bool open = !scope || scope->starts_with('0');
  const bool privileged = has_capability(CAP_SYS_PTRACE) && !scope.value_or("").starts_with('3');
  if (open || privileged) return {};
  return Failure(
      make_error(Kind::unsupported, error_number::kNoForeignAccess,
                 "the kernel lets no process look into another of its user (Yama's ptrace_scope)",
                 foreign_access_fix(*scope, instead)));
}

}  // namespace shunt
