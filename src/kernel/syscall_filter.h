// SPDX-License-Identifier: GPL-2.0-only
// The system calls that are left to shunt once it is set up (seccomp(2)): who takes the process
// over can run no program, make no namespace, load no eBPF, trace nobody, and open no kind of
// socket beside those in use. What may be called is the list in syscall_filter.cc; how to add to
// it: docs/service.md.
//
// A call that is not in the list fails with EPERM, and the first one of each number is named on
// stderr. It does not end the process: what calls it is most likely a library in a version, or a
// name service module, that nobody tried with shunt, and one lookup that fails is better than all
// connections of the host. Whoever tries to break out gains nothing by being told no.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"

namespace shunt {

/// What not every configuration has a use for.
struct SystemCallNeeds {
  bool bpf = false;  ///< maps are read or written (kernel/toa.h, kernel/capture_program.h)
};

/// Filters all threads of the process from now on, and what they start; for good. The calling
/// thread must have no_new_privs or CAP_SYS_ADMIN. SIGSYS must not be blocked in any thread
/// (base/thread_signals.h). Kind::unsupported where the kernel has no such filters.
Result<void> restrict_system_calls(const SystemCallNeeds& needs = {});

/// False in builds with sanitizers: these look at their own process with ptrace(2), fork, and read
/// what only a dumpable process lets be read.
[[nodiscard]] bool can_be_restricted();

/// What the filter lets through whatever the arguments are.
[[nodiscard]] std::span<const std::string_view> allowed_system_calls();

}  // namespace shunt
