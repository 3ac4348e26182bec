// SPDX-License-Identifier: GPL-2.0-only
// Standing between a shell and a command so that neither notices.
//
// The command stays in shunt's process group, so the terminal's signals (Ctrl-C, Ctrl-Z, hang-up)
// reach it without help and shunt only watches. Those that somebody sends to shunt's pid are passed
// on. Those sent to the whole group have reached the command already: passing them on would end a
// program that takes the second SIGINT as "at once". siginfo does not tell `kill PID` from
// `kill -PGID`, so a third process in the group is asked whether it got the same signal.
//
// When the command is stopped, shunt stops in the same way, so that the shell sees a stopped job;
// the proxy is another process and goes on. A SIGCONT travels like any other signal. One that comes
// in the moment between seeing the stop and stopping is lost on shunt (stopping discards it), and
// one that is sent to the command alone never comes: hence somebody has to look after a stopped
// shunt.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <functional>

namespace shunt::cli {

struct Bystanders {
  /// This process is about to stop, and has been continued: in between, it wants a SIGCONT if the
  /// command should run again. That SIGCONT goes no further.
  std::function<void()> stopping;
  std::function<void()> resumed;
  pid_t waker = -1;  ///< who sends it
  /// Did another member of the process group get this signal from this sender, just now?
  std::function<bool(int signal, pid_t sender)> group_saw;
  /// Some child has ended, or stopped; the command is looked after.
  std::function<void()> child_changed;
};

/// Waits for the command's end and yields the exit code: its own, or 128 + the signal's number.
/// Signals must be blocked (SignalState::take_over()); the process must have one thread.
int supervise(pid_t command, const Bystanders& bystanders);

}  // namespace shunt::cli
