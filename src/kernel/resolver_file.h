// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>

#include "base/result.h"

namespace shunt {

/// Gives the calling process, which must have one thread, and what it executes a mount namespace of
/// its own in which /etc/resolv.conf (resolv.conf(5)) holds `text`. The ways past that file are
/// closed to it: the sockets of nscd and of systemd-resolved refuse connections there, and the C
/// library then asks by DNS. Nothing is written to any disk, and nothing is left when its processes
/// have ended.
///
/// Without CAP_SYS_ADMIN it enters a user namespace of its own, in which its user is the same one.
/// Needs Linux 5.2 (fsopen(2), move_mount(2)). Kind::unsupported where there is no resolv.conf or
/// the host refuses.
Result<void> enter_own_resolver_file(std::string_view text);

}  // namespace shunt
