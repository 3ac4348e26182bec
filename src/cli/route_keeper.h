// SPDX-License-Identifier: GPL-2.0-only
// The process beside a command of `shunt route` (cli/companion.h): it holds the rules and makes the
// command's sockets. It lives as long as any process of the command does, so that what is left
// running in the background can open sockets still. When it dies, socket() fails there with ENOSYS.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/run_method.h"
#include "net/unique_fd.h"

namespace shunt::cli {

class Options;

/// Its whole life, in a freshly forked process.
[[noreturn]] void keep_route(UniqueFd channel, const Options& options);

/// In the command's process, which has one thread, before it executes the command.
Result<void> enter_route(const Options& options, const RunDoor& door);

}  // namespace shunt::cli
