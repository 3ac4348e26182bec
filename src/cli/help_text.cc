// SPDX-License-Identifier: GPL-2.0-only
#include "cli/help_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error_numbers.h"
#include "cli/commands.h"
#include "cli/place.h"

namespace shunt::cli {
namespace {

constexpr std::size_t kColumns = 80;
constexpr std::size_t kTitleColumns = 30;  // where an option's help begins

constexpr std::array kExitCodes = std::to_array<ExitCode>({
    {"0", "all went well"},
    {"1", "something failed while running"},
    {"2", "the command line is wrong"},
    {"3", "the configuration is wrong"},
    {"4", "a privilege is missing"},
    {"5", "this kernel or host cannot do it"},
    {"6", "the daemon does not answer"},
    {"7", "a port, a table or somebody else's rules are in the way"},
    {"125", "shunt run, route: shunt failed before the command could start"},
    {"126", "shunt run, route: the command cannot be executed"},
    {"127", "shunt run, route: the command was not found"},
    {"128+N", "shunt run, route: the command was ended by signal N"},
});

/// One entry of a list in two columns; a long title gets a line of its own.
std::string entry(std::string_view title, std::size_t column, std::string_view text) {
  const std::string body = wrapped(text, column);
  const std::size_t width = display_width(title) + 2;
  if (width + 2 > column) return fmt::format("  {}\n{}", title, body);
  return fmt::format("  {}{}{}", title, std::string(column - width, ' '),
                     std::string_view(body).substr(std::min(column, body.size())));
}

}  // namespace

std::string wrapped(std::string_view text, std::size_t indent) {
  std::string out;
  std::string line;
  const auto finish_line = [&] {
    if (!line.empty()) out += fmt::format("{}{}\n", std::string(indent, ' '), line);
    line.clear();
  };
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(" \n");
    const std::string_view word = text.substr(0, end);
    const std::size_t width = indent + display_width(line) + 1 + display_width(word);
    if (!line.empty() && width > kColumns) finish_line();
    if (!line.empty()) line += ' ';
    line += word;
    if (end == std::string_view::npos) break;
    const bool paragraph_ends = text.substr(end).starts_with("\n\n");
    text.remove_prefix(end + (paragraph_ends ? 2 : 1));
    if (!paragraph_ends) continue;
    finish_line();
    out += '\n';
  }
  finish_line();
  return out;
}

std::string option_help(const Option& option) {
  std::string text(option.help);
  if (option.type == ValueType::choice) {
    text += fmt::format(": {}", fmt::join(option.choices, ", "));
  }
  if (!option.fallback.empty()) text += fmt::format(" (default {})", option.fallback);
  if (option.repeatable) text += "; may be given several times";
  return text;
}

std::string overview() {
  std::string out =
      "shunt takes over connections whose programs know nothing of it, and carries\n"
      "each to where it was going: visibly, and without a trace when it ends.\n"
      "\n"
      "usage: shunt COMMAND [options]\n"
      "\n";
  for (const Command* command : commands()) {
    if (!command->hidden) out += entry(command->name, 14, command->summary);
  }
  out +=
      "\n"
      "try:   shunt run curl -L bing.com     one command, no root needed\n"
      "       shunt demo                     everything, inside private namespaces\n"
      "more:  shunt help COMMAND, shunt help errors, shunt help exit-codes\n";
  return out;
}

std::string command_help(const Command& command) {
  const std::string_view space = command.usage.empty() ? "" : " ";
  std::string out = fmt::format("usage: shunt {}{}{}\n\n{}", command.name, space, command.usage,
                                wrapped(command.description, 0));
  out += "\noptions:\n";
  for (const Option* option : all_options(command)) {
    if (option->hidden) continue;
    out += entry(option_title(*option), kTitleColumns, option_help(*option));
  }
  out += entry("-h, --help", kTitleColumns, "show this and exit");
  if (command.examples.empty()) return out;
  out += "\nexamples:\n";
  for (const Example& example : command.examples) {
    out += fmt::format("  {}\n{}", example.line, wrapped(example.meaning, 6));
  }
  return out;
}

std::string error_list() {
  std::string out = "The numbers in error[SN]:\n\n";
  for (const NumberedError& error : kNumberedErrors) {
    out += entry(fmt::format("S{:03}", error.number), 10, error.meaning);
  }
  return out;
}

std::span<const ExitCode> exit_code_list() { return kExitCodes; }

std::string exit_codes() {
  std::string out = "Exit codes:\n\n";
  for (const ExitCode& line : kExitCodes) out += entry(line.code, 10, line.meaning);
  return out + "\nOtherwise `shunt run` exits with the command's own code.\n";
}

}  // namespace shunt::cli
