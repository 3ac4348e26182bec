// SPDX-License-Identifier: GPL-2.0-only
// Which processes there are, and which of them are in a network namespace, as far as /proc shows
// them to this user.
#pragma once

#include <sys/types.h>

#include <functional>

namespace shunt {

/// Calls `visit` for each process of the namespace that `netns` is a descriptor of, until it says
/// false. A process whose first thread has moved elsewhere is judged by that thread.
void for_each_member(int netns, const std::function<bool(pid_t)>& visit);

/// Is any process but `except` in the namespace?
bool has_members(int netns, pid_t except);

/// Calls `visit` for each process that /proc shows.
void for_each_process(const std::function<void(pid_t)>& visit);

/// Calls `visit` for the process and for all of its descendants that were not left by a parent that
/// died. Far cheaper than the above; finds nothing but the process itself on a kernel without
/// CONFIG_PROC_CHILDREN.
void for_each_descendant(pid_t pid, const std::function<void(pid_t)>& visit);

}  // namespace shunt
