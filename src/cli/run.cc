// SPDX-License-Identifier: GPL-2.0-only
#include <cstdlib>

#include "cli/carrier.h"
#include "cli/child.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/report.h"
#include "cli/run_method.h"
#include "cli/supervise.h"
#include "egress/way_out_url.h"

namespace shunt::cli {
namespace {

constexpr Option kOptions[] = {
    {.name = "output",
     .short_name = 'o',
     .help = "traffic lines to standard error even when it is no terminal"},
    {.name = "method",
     .type = ValueType::choice,
     .value = "METHOD",
     .help = "how CMD is captured; auto takes the first that works here",
     .fallback = "auto",
     .choices = kRunMethodWords},
    {.name = "allow-localhost", .help = "let CMD reach services on this machine's localhost"},
};

constexpr Example kExamples[] = {
    {"shunt run curl -L bing.com", "see what curl asks for, and what it gets"},
    {"shunt run --via socks5://127.0.0.1:1080 git clone https://example.org/repo.git",
     "carry a program that knows nothing of proxies through one"},
    {"shunt run --via socks5://127.0.0.1:1080 --rule 'to 10.0.0.0/8 -> direct' ./fetch-all",
     "all but one network through the proxy"},
    {"shunt run --via socks5h://127.0.0.1:1080 --dns fake-ip ./fetch-all",
     "names are sent to the proxy and never looked up here"},
};

// The order matters: the carrier is forked before anything is changed, and the command from a
// process that has no threads and holds nothing but the way into the namespace.
Result<int> run_run(const Options& options) {
  const SignalState signals = SignalState::take_over();
  Carrier carrier = SHUNT_TRY(Carrier::start(options));
  // The carrier has it; the command has no business with it.
  // NOLINTNEXTLINE(concurrency-mt-unsafe): this process has no threads
  ::unsetenv(kPasswordVariable);
  const auto command = start_command(options.words(), carrier.door(), signals);
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

}  // namespace

constinit const Command kRunCommand = {
    .name = "run",
    .summary = "proxy one command and its children; no root needed",
    .usage = "[options] [--] CMD [ARG…]",
    .description =
        "Runs CMD in a network namespace of its own, where every connection that it or its "
        "children make is captured. The traffic lines go to standard error when that is a "
        "terminal, or with -o or --json; standard output is the command's alone. Exits with the "
        "command's code.",
    .options = kOptions,
    .shared_options = kTrafficOptions,
    .examples = kExamples,
    .minimum_words = 1,
    .maximum_words = std::numeric_limits<unsigned>::max(),
    .missing_word = "the command to run",
    .options_end_at_first_word = true,
    .failure_code = 125,
    .run = run_run,
};

}  // namespace shunt::cli
