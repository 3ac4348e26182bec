// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <functional>
#include <string_view>

namespace shunt {

/// Whether a process was executed with `variable` ("NAME=VALUE") in its environment, and has not
/// written over it since; false where this user may not know. Looks at all processes of the
/// machine, which takes milliseconds.
bool any_process_has(std::string_view variable);

/// The same of one process (proc_pid_environ(5)).
bool process_has(pid_t process, std::string_view variable);

}  // namespace shunt
