// SPDX-License-Identifier: GPL-2.0-only
// The process behind `shunt run` that carries the command's traffic. It is not the one that the
// shell knows: that one (cli/run.cc) has no threads, changes nothing of its own that the command
// would inherit, can be stopped with the command (Ctrl-Z) while transfers of its background jobs go
// on, and can leave with the command's exit code while the last bytes are still on their way.
//
//   shell -- shunt run (supervises) -- command
//                 \-- carrier (proxy, log) -- holder (of a capture namespace)
//
// The carrier lives as long as any process is captured, so what the command leaves running
// in the background keeps its network. When the supervisor has gone it holds none of the caller's
// descriptors any more and writes to a log file only.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "cli/run_method.h"
#include "net/unique_fd.h"

namespace shunt::cli {

class Options;

class Carrier {
 public:
  /// Forks, and waits until connections of the namespace will be served. All signals must be
  /// blocked. The Error is the carrier's.
  static Result<Carrier> start(const Options& options);

  [[nodiscard]] const RunDoor& door() const { return door_; }
  /// For cli/supervise.h: it is a member of the process group and remembers what it gets.
  [[nodiscard]] bool saw_signal(int signal, pid_t sender) const;
  void command_started(pid_t command) const;
  /// Between the two calls this process may be stopped because the command is; should the command
  /// go on without it, the carrier sends it SIGCONT.
  void about_to_stop(pid_t command) const;
  void resumed() const;
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// To be called when a child has ended: warns, once, if it was the carrier.
  void check();
  /// Waits until the traffic's last lines are written, for a bounded time.
  void command_ended();

 private:
  Carrier() = default;
  pid_t pid_ = -1;
  UniqueFd channel_;
  RunDoor door_;
};

}  // namespace shunt::cli
