// SPDX-License-Identifier: GPL-2.0-only
// The cgroup controller net_cls (Documentation/admin-guide/cgroup-v1/net_cls.rst): a class for each
// cgroup of its hierarchy, which its processes' sockets bear. nftables matches it (`meta cgroup`),
// and eBPF programs can ask for it (CONFIG_CGROUP_NET_CLASSID).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "base/result.h"

namespace shunt {

/// Fails with what is missing where the kernel does not have it.
Result<void> check_net_cls();

/// The class of a process's cgroup. Nothing where the hierarchy is mounted nowhere, or /proc does
/// not say.
[[nodiscard]] std::optional<std::uint32_t> classid_of(pid_t pid);

}  // namespace shunt
