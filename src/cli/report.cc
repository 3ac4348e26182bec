// SPDX-License-Identifier: GPL-2.0-only
#include "cli/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/terminal.h"
#include "cli/output.h"

namespace shunt::cli {
namespace {

struct Style {
  std::string_view start;
  std::string_view end;
};

constexpr Style kPlain{"", ""};
constexpr Style kRed{"\033[1;31m", "\033[0m"};
constexpr Style kYellow{"\033[1;33m", "\033[0m"};
constexpr Style kGreen{"\033[1;32m", "\033[0m"};
constexpr Style kBlue{"\033[1;34m", "\033[0m"};

/// `text` after `first`, its further lines after `rest`; each line escaped, so that a newline is
/// the only control character that gets through.
std::string lines(std::string_view first, std::string_view rest, std::string_view text,
                  bool already_escaped) {
  std::string out;
  std::string_view prefix = first;
  while (true) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    out += fmt::format("{}{}\n", prefix, already_escaped ? std::string(line) : escaped(line));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
    prefix = rest;
  }
}

std::string help_lines(std::string_view help, bool colour) {
  if (help.empty()) return {};
  const Style style = colour ? kGreen : kPlain;
  return lines(fmt::format("  {}help:{} ", style.start, style.end), "        ", help, false);
}

std::string formatted(const Error& error, std::string_view label, Style style, bool colour) {
  const Style blue = colour ? kBlue : kPlain;
  std::string out =
      lines(fmt::format("{}{}:{} ", style.start, label, style.end), "  ", error.text(), false);
  if (!error.place.empty()) {
    out += lines(fmt::format("  {}-->{} ", blue.start, blue.end), "      ", error.place, true);
  }
  return out + help_lines(error.help, colour);
}

}  // namespace

std::string format_error(const Error& error, bool colour) {
  const std::string label =
      error.number == 0 ? "error" : fmt::format("error[S{:03}]", error.number);
  return formatted(error, label, colour ? kRed : kPlain, colour);
}

std::string format_warning(const Error& warning, bool colour) {
  return formatted(warning, "warning", colour ? kYellow : kPlain, colour);
}

int report(const Error& error) {
  print_error(format_error(error, wants_colour(STDERR_FILENO)));
  return exit_code(error.kind);
}

void report_warning(std::string_view message, std::string_view help) {
  const Error warning = make_error(Kind::runtime, std::string(message), std::string(help));
  print_error(format_warning(warning, wants_colour(STDERR_FILENO)));
}

}  // namespace shunt::cli
