// SPDX-License-Identifier: GPL-2.0-only
#include "cli/run_beside.h"

#include "cli/child.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/supervise.h"

namespace shunt::cli {

// The order matters: the companion is forked before anything is changed, and the command from a
// process that has no threads and holds nothing but the way in.
Result<int> run_beside(const Options& options, CompanionLife life,
                       const std::function<Result<void>(const RunDoor&)>& enter) {
  const SignalState signals = SignalState::take_over();
  Carrier carrier = SHUNT_TRY(Carrier::start(options, life));
  const auto command =
      start_command(options.words(), [&] { return enter(carrier.door()); }, signals);
  if (!command) {
    carrier.command_ended();
    (void)report(command.error().error);
    return command.error().exit_code;
  }
  carrier.command_started(*command);
  const Bystanders bystanders{
      .stopping = [&] { carrier.about_to_stop(*command); },
      .resumed = [&] { carrier.resumed(); },
      .waker = carrier.pid(),
      .group_saw = [&](int signal, pid_t sender) { return carrier.saw_signal(signal, sender); },
      .child_changed = [&] { carrier.check(); }};
  const int exit_code = supervise(*command, bystanders);
  carrier.command_ended();
  return exit_code;
}

}  // namespace shunt::cli
