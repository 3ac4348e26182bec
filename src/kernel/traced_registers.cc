// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/traced_registers.h"

#include <sys/ptrace.h>
#include <sys/user.h>

#include <cerrno>
#include <cstddef>

namespace shunt {

#if defined(__x86_64__)

namespace {

constexpr std::int64_t kRestart = -512;  // -ERESTARTSYS, include/linux/errno.h of the kernel
constexpr std::int64_t kNoCall = -1;

void set_register(pid_t thread, std::size_t offset, std::int64_t value) {
  ::ptrace(PTRACE_POKEUSER, thread, offset, value);
}

constexpr std::size_t kNumberAt = offsetof(user, regs) + offsetof(user_regs_struct, orig_rax);
constexpr std::size_t kResultAt = offsetof(user, regs) + offsetof(user_regs_struct, rax);

}  // namespace

std::optional<TrappedCall> stopped_call(pid_t thread) {
  user_regs_struct registers{};
  if (::ptrace(PTRACE_GETREGS, thread, nullptr, &registers) != 0) return std::nullopt;
  return TrappedCall{.thread = thread,
                     .number = static_cast<int>(registers.orig_rax),
                     .arguments = {registers.rdi, registers.rsi, registers.rdx, registers.r10,
                                   registers.r8, registers.r9}};
}

// The kernel has put -ENOSYS into the register of the result (entry_SYSCALL_64).
void skip_call(pid_t thread) { set_register(thread, kNumberAt, kNoCall); }
void set_result(pid_t thread, std::int64_t value) { set_register(thread, kResultAt, value); }
void do_call(pid_t thread, int number) { set_register(thread, kNumberAt, number); }

void interrupt_call(pid_t thread, int number, bool may_restart) {
  set_register(thread, kNumberAt, number);
  set_register(thread, kResultAt, may_restart ? kRestart : -EINTR);
}

#else

// Nobody gets here: probe_call_tracer() says so first.
std::optional<TrappedCall> stopped_call(pid_t /*thread*/) { return std::nullopt; }
void skip_call(pid_t /*thread*/) {}
void set_result(pid_t /*thread*/, std::int64_t /*value*/) {}
void do_call(pid_t /*thread*/, int /*number*/) {}
void interrupt_call(pid_t /*thread*/, int /*number*/, bool /*may_restart*/) {}

#endif

}  // namespace shunt
