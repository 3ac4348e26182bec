// SPDX-License-Identifier: GPL-2.0-only
// The process beside a command: it does what the command needs for as long as any process of it
// lives, and is the supervisor's witness of what was sent to the whole process group
// (cli/supervise.h). The records that the two exchange are those of cli/carrier_process.h.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <deque>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt::cli {

/// Everything that the group got, so that the supervisor can tell its own signals from the group's.
/// All signals must be blocked.
class SignalMemory {
 public:
  Result<void> open();
  /// Each signal is reported once.
  bool saw(int signal, pid_t sender);
  /// Has somebody asked this very process to end?
  bool end_requested();
  void forget();
  void read_pending();
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  struct Seen {
    int signal;
    pid_t sender;
  };

  UniqueFd fd_;
  std::deque<Seen> seen_;
};

class Companion {
 public:
  virtual ~Companion() = default;

 protected:
  explicit Companion(UniqueFd channel) : channel_(std::move(channel)) {}

  Result<void> watch_signals() { return signals_.open(); }
  [[nodiscard]] int channel() const { return channel_.get(); }
  /// Waits for requests of the supervisor, which it answers, for `fd` (-1: none) to be readable, or
  /// for `wait_ms` (-1: for ever). False: the command has ended, or the supervisor is gone.
  bool attend(int fd, int wait_ms);
  void answer(char letter);
  /// From here on nobody has to wait for what this process holds open, and there is no supervisor.
  void let_go();
  /// attend() after let_go(). False: somebody has asked this process to end.
  bool attend_alone(int fd, int wait_ms);

 private:
  virtual void command_started(pid_t /*command*/) {}
  bool handle_request();

  UniqueFd channel_;
  SignalMemory signals_;
  pid_t stopped_command_ = 0;  ///< the supervisor is stopped because this is; 0: it is not
};

/// Standard input and output become /dev/null: they are the command's.
void leave_input_and_output();

}  // namespace shunt::cli
