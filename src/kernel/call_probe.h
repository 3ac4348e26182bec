// SPDX-License-Identifier: GPL-2.0-only
// What the probes of supervisors (probe_call_trap(), probe_call_tracer()) have in common: a child
// that connects to an address which nobody listens at, and is told something that no kernel would
// say of it.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <string_view>

#include "base/result.h"
#include "kernel/call_source.h"
#include "net/unique_fd.h"

namespace shunt {

inline constexpr int kProbeWithinMs = 5000;  // a loaded machine; it takes well under a millisecond
inline constexpr int kProbeAnswer = EHOSTUNREACH;

struct ProbeChild {
  pid_t pid = 0;     ///< to be waited for by the caller
  UniqueFd channel;  ///< its other end is what `life` got; a read() ends after kProbeWithinMs
};
/// Forks a child that does `life`, which does not return.
Result<ProbeChild> start_probe_child(void (*life)(int channel));
/// In the child: its call. Yields the errno, or 0.
int make_probe_call(int socket);

/// Waits for the child's call and looks at it as a supervisor has to. Where none comes the Error
/// says that the `purpose` failed; it has the `number` of base/error_numbers.h.
Result<TrappedCall> receive_probe_call(const CallSource& source, std::string_view purpose,
                                       int number);
/// Of the kind unsupported.
Failure probe_trouble(std::string_view what, int os_error, int number);

}  // namespace shunt
