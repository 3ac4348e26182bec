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

}  // namespace shunt::cli
