// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error_numbers.h"
#include "cli/commands.h"
#include "cli/config_report.h"
#include "cli/output.h"
#include "control/client.h"
#include "kernel/instance.h"

namespace shunt::cli {
namespace {

constexpr int kPatienceMs = 60'000;  // proxies' names may have to be looked up

constexpr Option kOptions[] = {
    {.name = "close-changed",
     .help = "end live connections that the new rules decide otherwise; without it they go on"},
};

Error nobody_there() {
  return make_error(Kind::unreachable, error_number::kNotRunning,
                    "no `shunt serve` of this user runs in this network namespace",
                    "start one with `shunt serve`; if it runs as another user: sudo shunt reload");
}

/// Of the instances here, the one that serves.
Result<std::string> control_socket() {
  for (const LiveInstance& instance : SHUNT_TRY(live_instances())) {
    // "serve" alone captures nothing: it has listeners.
    if ((instance.command + " ").starts_with("serve ")) return instance.control_socket;
  }
  return Failure(nobody_there());
}

Result<int> run_reload(const Options& options) {
  const std::string path = SHUNT_TRY(control_socket());
  const std::string_view request = options.has("close-changed") ? "reload close-changed" : "reload";
  auto answer = control::ask(path, request, kPatienceMs);
  if (!answer) {
    answer.error().number = error_number::kNotRunning;
    return Failure(std::move(answer).error());
  }
  report_mistakes(answer->errors);
  for (const std::string& text : answer->texts) SHUNT_CHECK(print(text + "\n"));
  return answer->exit_code;
}

}  // namespace

constinit const Command kReloadCommand = {
    .name = "reload",
    .summary = "let a running `shunt serve` read its configuration again",
    .usage = "[--close-changed]",
    .description =
        "The new configuration takes the place of the old one at once and as a whole. Connections "
        "that live go on as they were decided. A file with mistakes changes nothing: they are "
        "printed, and the exit code is 3; it is 6 when no shunt answers.",
    .options = kOptions,
    .run = run_reload,
};

}  // namespace shunt::cli
