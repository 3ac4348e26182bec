// SPDX-License-Identifier: GPL-2.0-only
#include "cli/man_page.h"

#include <fmt/format.h>

#include <string_view>

#include "base/error_numbers.h"
#include "cli/commands.h"
#include "cli/help_text.h"

namespace shunt::cli {
namespace {

/// Text that roff prints as it stands. A dot at the beginning of a line would be a command (\& in
/// front takes that meaning away), and without their escapes dashes and quotes come out as
/// typographic ones, which no shell takes (groff_char(7)).
std::string roff(std::string_view text) {
  std::string out;
  bool line_starts = true;
  for (const char c : text) {
    if (line_starts && c == '.') out += "\\&";
    switch (c) {
      case '\\': out += "\\e"; break;
      case '-': out += "\\-"; break;
      case '\'': out += "\\(aq"; break;
      case '`': out += "\\(ga"; break;
      case '~': out += "\\(ti"; break;
      case '^': out += "\\(ha"; break;
      default: out += c;
    }
    line_starts = c == '\n';
  }
  return out;
}

/// The same in short lines, which is how man pages are written.
std::string roff_lines(std::string_view text) { return roff(wrapped(text, 0)); }

std::string paragraphs(std::string_view text) {
  std::string out;
  while (true) {
    const std::size_t end = text.find("\n\n");
    out += roff_lines(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    out += ".PP\n";
    text.remove_prefix(end + 2);
  }
}

std::string tagged(std::string_view tag, std::string_view text) {
  return fmt::format(".TP\n.B {}\n{}", roff(tag), roff_lines(text));
}

std::string title(const Option& option) {
  std::string name = fmt::format("--{}", option.name);
  if (option.short_name != '\0') name = fmt::format("-{}, {}", option.short_name, name);
  return option.value.empty() ? name : fmt::format("{} {}", name, option.value);
}

std::string command_section(const Command& command) {
  const std::string_view space = command.usage.empty() ? "" : " ";
  std::string out = fmt::format(".SS shunt {}{}{}\n{}", roff(command.name), space,
                                roff(command.usage), paragraphs(command.description));
  for (const Option* option : all_options(command)) {
    if (!option->hidden) out += tagged(title(*option), option_help(*option));
  }
  return out;
}

std::string examples() {
  std::string out = ".SH EXAMPLES\n";
  for (const Command* command : commands()) {
    for (const Example& example : command->examples) out += tagged(example.line, example.meaning);
  }
  return out;
}

}  // namespace

std::string man_page() {
  std::string out =
      ".\\\" SPDX-License-Identifier: GPL-2.0-only\n"
      ".TH SHUNT 1 \"\" \"shunt " SHUNT_VERSION
      "\" \"User Commands\"\n"
      ".SH NAME\nshunt \\- transparent proxy\n"
      ".SH SYNOPSIS\n.B shunt\n.I COMMAND\n[\\fIoptions\\fR]\n"
      ".SH DESCRIPTION\nshunt takes over connections whose programs know nothing of it,\n"
      "and carries each to where it was going.\n"
      ".SH COMMANDS\n";
  for (const Command* command : commands()) {
    if (!command->hidden) out += command_section(*command);
  }
  out += ".SH EXIT STATUS\n";
  for (const ExitCode& line : exit_code_list()) out += tagged(line.code, line.meaning);
  out += ".PP\nOtherwise\n.B shunt run\nexits with the command\\(aqs own code.\n";
  out += ".SH ENVIRONMENT\n";
  out += tagged("NO_COLOR", "if set and not empty, nothing is coloured");
  out += tagged("SHUNT_VIA_PASSWORD", "the password for the proxy of --via");
  out += ".SH DIAGNOSTICS\n";
  for (const NumberedError& error : kNumberedErrors) {
    out += tagged(fmt::format("error[S{:03}]", error.number), error.meaning);
  }
  return out + examples();
}

}  // namespace shunt::cli
