// SPDX-License-Identifier: GPL-2.0-only
// capabilities(7) through libcap-ng. Capability numbers are the CAP_* of linux/capability.h.
#pragma once

#include <linux/capability.h>

#include <initializer_list>
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
/// Reduces the effective and permitted sets to these, and the bounding set to nothing where
/// CAP_SETPCAP allows it. For shunt itself, after everything is installed.
Result<void> keep_only(std::initializer_list<int> capabilities);
/// "CAP_NET_ADMIN".
std::string capability_name(int capability);

}  // namespace shunt
