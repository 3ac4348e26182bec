// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "base/suggest.h"
#include "cli/help_text.h"
#include "cli/output.h"
#include "cli/place.h"
#include "cli/report.h"

namespace shunt::cli {
namespace {

constexpr std::array kCommands = {
    &kRunCommand,     &kRouteCommand,   &kWatchCommand,  &kGatewayCommand,
    &kServeCommand,   &kReloadCommand,  &kRulesCommand,  &kCheckCommand,
    &kExplainCommand, &kPlanCommand,    &kDoctorCommand, &kDownCommand,
    &kDemoCommand,    &kVersionCommand, &kHelpCommand,   &kCompletionCommand,
};

Error unknown_command(std::span<const std::string_view> arguments) {
  const std::string_view word = arguments.front();
  std::vector<std::string_view> names;
  names.reserve(kCommands.size());
  for (const Command* command : kCommands) names.push_back(command->name);
  const std::string_view near = closest_word(word, names);
  const bool is_option = word.starts_with("-");
  std::string help = is_option ? "shunt COMMAND [options]      (shunt help lists the commands)"
                               : "shunt help lists the commands";
  if (near.empty() && !is_option) {
    help += fmt::format("; to carry a program's traffic: shunt run {}", word);
  }
  Error error = make_error(
      Kind::usage, is_option ? error_number::kUnknownOption : error_number::kUnknownCommand,
      fmt::format("unknown {} \"{}\"", is_option ? "option" : "command", word), std::move(help));
  error.place = point_at({}, arguments, {.argument = 0, .first = 0, .length = word.size()},
                         did_you_mean(near));
  return error;
}

int run_command(const Command& command, std::span<const std::string_view> arguments) {
  const Result<Options> options = parse(command, arguments);
  if (!options) return report(options.error());
  Result<int> code = 0;
  if (options->wants_help()) {
    if (auto printed = print(command_help(command)); !printed) {
      code = Failure(std::move(printed).error());
    }
  } else {
    code = command.run(*options);
  }
  if (code) return *code;
  const int by_kind = report(code.error());
  const bool own = command.failure_code != 0 && code.error().kind != Kind::usage;
  return own ? command.failure_code : by_kind;
}

}  // namespace

std::span<const Command* const> commands() { return kCommands; }

const Command* find_command(std::string_view name) {
  const auto* found =
      std::ranges::find(kCommands, name, [](const Command* command) { return command->name; });
  return found == kCommands.end() ? nullptr : *found;
}

const Command* subject_of(const Command& command, std::string_view first_word) {
  return command.first_word_is_command ? find_command(first_word) : nullptr;
}

int run_command_line(std::span<const std::string_view> arguments) {
  if (arguments.empty()) {
    print_error(overview());
    return exit_code(Kind::usage);
  }
  std::string_view name = arguments.front();
  if (name == "--help" || name == "-h") name = kHelpCommand.name;
  if (name == "--version" || name == "-V") name = kVersionCommand.name;
  const Command* command = find_command(name);
  if (command == nullptr) return report(unknown_command(arguments));
  return run_command(*command, arguments.subspan(1));
}

}  // namespace shunt::cli
