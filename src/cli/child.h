// SPDX-License-Identifier: GPL-2.0-only
// The command of `shunt run`, as a child process that finds everything as shunt found it, but the
// network.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <expected>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/run_method.h"

namespace shunt::cli {

/// The signal state that shunt was started with, and what it sets instead.
class SignalState {
 public:
  /// Blocks everything that can be blocked and lets children be waited for.
  static SignalState take_over();
  /// As it was; in a child, before exec.
  void restore() const;
  [[nodiscard]] const sigset_t& mask() const { return mask_; }

 private:
  sigset_t mask_{};
  struct sigaction child_{};
};

struct StartFailure {
  Error error;
  int exit_code = 125;  ///< 126 not executable, 127 not found, 125 not the program's fault
};

/// Forks, goes in, executes. Returns when the program runs, or why it does not. The program is
/// found and run as execvp(3) does: by PATH, and a script without `#!` by /bin/sh. It gets SIGKILL
/// when this process dies, as if it had been started in its place.
std::expected<pid_t, StartFailure> start_command(const std::vector<std::string>& command,
                                                 const RunDoor& door, const SignalState& signals);

}  // namespace shunt::cli
