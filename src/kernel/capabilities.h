// SPDX-License-Identifier: GPL-2.0-only
// capabilities(7) through libcap-ng. Capability numbers are the CAP_* of linux/capability.h.
#pragma once

#include <linux/capability.h>

#include <initializer_list>
#include <span>
#include <string>

#include "base/result.h"

namespace shunt {

/// Is it in the calling thread's effective set?
[[nodiscard]] bool has_capability(int capability);
/// Kind::privilege with a fix if not; `purpose` completes "… needs CAP_NET_ADMIN".
Result<void> require_capability(int capability, std::string_view purpose);
/// Removes them from the bounding, inheritable and ambient sets of the calling thread: no program
/// it executes gets them back, set-user-ID or not. Needs CAP_SETPCAP.
Result<void> drop_from_bounding_set(std::initializer_list<int> capabilities);
/// Reduces the effective and permitted sets of the calling thread to these, which it must have, the
/// inheritable and ambient ones to nothing, and the bounding set to nothing where CAP_SETPCAP
/// allows it. Threads that it starts have no more; those that run already keep what they have.
Result<void> keep_only(std::span<const int> capabilities);
/// No program that the process executes can give it privileges that it has not (prctl(2),
/// PR_SET_NO_NEW_PRIVS): of the calling thread and those that it starts.
Result<void> gain_no_privileges();
/// Nobody but a privileged process may trace this one, read its memory or its descriptors; it
/// leaves no core. Its /proc/PID belongs to root from then on.
Result<void> forbid_dumps();
/// "CAP_NET_ADMIN".
std::string capability_name(int capability);

}  // namespace shunt
