// SPDX-License-Identifier: GPL-2.0-only
// The cgroup controller net_cls (Documentation/admin-guide/cgroup-v1/net_cls.rst): a class for each
// cgroup of its hierarchy, which its processes' sockets bear. nftables matches it (`meta cgroup`),
// and eBPF programs can ask for it (CONFIG_CGROUP_NET_CLASSID).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace shunt {

/// Fails with what is missing where the kernel does not have it.
Result<void> check_net_cls();

/// The class of the cgroup that a /proc/PID/cgroup names ("4:net_cls:/a"). Nothing where it names
/// none, or the hierarchy is mounted nowhere.
[[nodiscard]] std::optional<std::uint32_t> classid_in(std::string_view proc_cgroup);

}  // namespace shunt
