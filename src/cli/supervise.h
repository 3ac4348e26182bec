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
// the proxy is another process and goes on. A SIGCONT travels like any other signal.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <functional>

namespace shunt::cli {

/// Did another member of the process group get this signal from this sender, just now?
using GroupWitness = std::function<bool(int signal, pid_t sender)>;

/// Waits for the command's end and yields the exit code: its own, or 128 + the signal's number.
/// Signals must be blocked (SignalState::take_over()); the process must have one thread.
int supervise(pid_t command, const GroupWitness& witness);

}  // namespace shunt::cli
