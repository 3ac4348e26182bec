// SPDX-License-Identifier: GPL-2.0-only
#include "cli/place.h"

#include <fmt/format.h>

#include <algorithm>

namespace shunt::cli {

std::string point_at(std::string_view command, std::span<const std::string_view> arguments,
                     const Span& span, std::string_view remark) {
  std::string before = command.empty() ? "shunt" : fmt::format("shunt {}", command);
  for (std::size_t i = 0; i < std::min(span.argument, arguments.size()); ++i) {
    before += fmt::format(" {}", arguments[i]);
  }
  before += ' ';
  std::string_view marked;
  std::string behind;
  if (span.argument < arguments.size()) {
    const std::string_view argument = arguments[span.argument];
    before += argument.substr(0, span.first);
    marked = argument.substr(span.first, span.length);
    behind = argument.substr(std::min(span.first + span.length, argument.size()));
    for (const std::string_view next : arguments.subspan(span.argument + 1)) {
      behind += fmt::format(" {}", next);
    }
  }
  const CaretLines lines = caret_lines(before, marked, behind, remark);
  return fmt::format("{}\n{}", lines.text, lines.carets);
}

std::string shell_quoted(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(word);
  }
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string point_at_value(std::string_view command, std::string_view option,
                           std::string_view value) {
  const std::string dashed = fmt::format("--{}", option);
  const std::string_view arguments[] = {dashed, value};
  return point_at(command, arguments, {.argument = 1, .first = 0, .length = value.size()});
}

}  // namespace shunt::cli
