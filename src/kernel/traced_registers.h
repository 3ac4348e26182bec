// SPDX-License-Identifier: GPL-2.0-only
// The system call of a thread that its tracer has stopped before the kernel looks at it
// (PTRACE_EVENT_SECCOMP), in the thread's registers. All of this is for the tracer's own thread,
// and does nothing to a thread that was killed meanwhile.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "kernel/call_source.h"

namespace shunt {

/// Whether this build knows the registers of its machine: x86-64's.
#if defined(__x86_64__)
inline constexpr bool kKnowsRegisters = true;
#else
inline constexpr bool kKnowsRegisters = false;
#endif

/// Without an id; nothing: the thread is gone.
[[nodiscard]] std::optional<TrappedCall> stopped_call(pid_t thread);
/// The kernel will not do the call, which yields ENOSYS unless set_result() says otherwise.
void skip_call(pid_t thread);
void set_result(pid_t thread, std::int64_t value);
/// Takes skip_call() back.
void do_call(pid_t thread, int number);
/// After a call was skipped, and before the thread runs again: what a call that a signal interrupts
/// is like. The program gets EINTR or, if the call `may_restart`, makes it once more, as its
/// handler of the signal has it.
void interrupt_call(pid_t thread, int number, bool may_restart);

}  // namespace shunt
