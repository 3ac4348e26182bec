// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <unistd.h>

#include <string>

#include "cli/commands.h"
#include "cli/config_report.h"
#include "cli/output.h"
#include "config/config.h"
#include "egress/check_way_outs.h"

namespace shunt::cli {
namespace {

constexpr Example kExamples[] = {
    {"shunt check", "check /etc/shunt/shunt.toml"},
    {"shunt check new.toml && sudo cp new.toml /etc/shunt/shunt.toml", "before it is used"},
};

std::string counted(std::size_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

Result<int> run_check(const Options& options) {
  const std::string file =
      options.words().empty() ? std::string(kDefaultConfigFile) : options.words().front();
  auto config = read_config(file);
  if (!config) return report_mistakes(config.error());
  const auto checked = check_config(*std::move(config));
  if (!checked) return report_mistakes(checked.error());
  if (const auto mistakes = trust_mistakes(checked->config.ways_out); !mistakes.empty()) {
    return report_mistakes(mistakes);
  }
  const auto warnings = config_warnings(*checked);
  report_warnings(warnings);
  std::string text =
      fmt::format("{}: {}, {}", file, counted(checked->rules->size(), "rule", "rules"),
                  counted(checked->config.ways_out.size(), "way out", "ways out"));
  if (const std::size_t listeners = checked->config.listeners.size(); listeners > 0) {
    text += ", " + counted(listeners, "listener", "listeners");
  }
  if (!warnings.empty()) text += ", " + counted(warnings.size(), "warning", "warnings");
  SHUNT_CHECK(print(text + "\n"));
  return 0;
}

}  // namespace

constinit const Command kCheckCommand = {
    .name = "check",
    .summary = "say what is wrong with a configuration file",
    .usage = "[FILE]",
    .description =
        "Reads FILE (default /etc/shunt/shunt.toml) as `shunt serve` would, with the lists, "
        "databases and trusted certificates that it names, and prints every mistake with its "
        "place. Warns of rules that "
        "can never match, of keys without effect, of ways out that no rule leads to, of secrets "
        "that other users can read, "
        "and of listeners where anybody may say who the client is.\n\n"
        "Exits with 3 when there are mistakes, with 0 otherwise. Needs no privilege and changes "
        "nothing.",
    .examples = kExamples,
    .maximum_words = 1,
    .run = run_check,
};

}  // namespace shunt::cli
