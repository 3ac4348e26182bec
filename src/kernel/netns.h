// SPDX-License-Identifier: GPL-2.0-only
// Network namespaces: naming, making and entering them. A namespace belongs to a thread; a socket
// stays in the one it was made in.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt {

/// The calling thread's network namespace, as a descriptor for setns(2).
Result<UniqueFd> open_network_namespace();
/// A text that names the calling thread's network namespace for as long as the machine runs:
/// SO_NETNS_COOKIE (Linux 5.14) or, before it, the inode, which can be reused.
Result<std::string> network_namespace_id();

/// Moves the calling process into a new user namespace in which its user is `inside_uid`,
/// `inside_gid` (setgroups is denied, as user_namespaces(7) demands of the unprivileged). Single-
/// threaded processes only. The Error says why the host refuses and what allows it.
Result<void> enter_user_namespace(uid_t inside_uid, gid_t inside_gid);
/// Moves the calling process into a new network namespace: plainly with CAP_SYS_ADMIN, else in a
/// new user namespace as mapped root. Loopback is left down.
Result<void> enter_network_namespace();

/// Runs `work` on a thread of its own that has entered `netns`, and waits for it. Needs
/// CAP_SYS_ADMIN over the namespace and in the caller's user namespace.
Result<void> run_in_network_namespace(int netns, const std::function<Result<void>()>& work);

/// Forks, runs `work` in the child and brings its answer back; the child's memory, descriptors and
/// namespaces vanish with it. A child that dies or that does not answer within `timeout_ms` is an
/// Error. The caller should not have started threads yet.
Result<std::string> run_in_child(const std::function<Result<std::string>()>& work,
                                 int timeout_ms = 10'000);
/// run_in_child() after enter_network_namespace() in the child.
Result<std::string> run_in_throwaway_namespace(const std::function<Result<std::string>()>& work,
                                               int timeout_ms = 10'000);

}  // namespace shunt
