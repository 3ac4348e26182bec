// SPDX-License-Identifier: GPL-2.0-only
#include <string>
#include <string_view>

#include "cli/ask_daemon.h"
#include "cli/commands.h"
#include "cli/config_report.h"
#include "cli/output.h"

namespace shunt::cli {
namespace {

constexpr Option kOptions[] = {
    {.name = "close-changed",
     .help = "end live connections that the new rules decide otherwise; without it they go on"},
};

Result<int> run_reload(const Options& options) {
  const std::string_view request = options.has("close-changed") ? "reload close-changed" : "reload";
  const auto answer = SHUNT_TRY(ask_daemon(request));
  report_mistakes(answer.errors);
  for (const std::string& text : answer.texts) SHUNT_CHECK(print(text + "\n"));
  return answer.exit_code;
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
