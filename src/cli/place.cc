// SPDX-License-Identifier: GPL-2.0-only
#include "cli/place.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/escape.h"

namespace shunt::cli {
namespace {

constexpr std::size_t kColumnsBefore = 56;  // of the command line, in front of the mistake
constexpr std::size_t kColumnsAfter = 40;   // and behind its beginning

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

/// The last `columns` columns of `text`, marked as cut where it was longer.
std::string tail(std::string_view text, std::size_t columns) {
  if (display_width(text) <= columns) return std::string(text);
  std::size_t left = columns - 1;
  std::size_t from = text.size();
  while (left > 0) {
    do --from;
    while (continues_character(text[from]));
    --left;
  }
  return fmt::format("…{}", text.substr(from));
}

std::string head(std::string_view text, std::size_t columns) {
  if (display_width(text) <= columns) return std::string(text);
  std::size_t end = 0;
  for (std::size_t left = columns; left > 0; --left) {
    do ++end;
    while (continues_character(text[end]));
  }
  return fmt::format("{}…", text.substr(0, end));
}

}  // namespace

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char byte) { return !continues_character(byte); }));
}

std::string point_at(std::string_view command, std::span<const std::string_view> arguments,
                     const Span& span, std::string_view remark) {
  std::string before = command.empty() ? "shunt" : fmt::format("shunt {}", command);
  for (std::size_t i = 0; i < std::min(span.argument, arguments.size()); ++i) {
    before += ' ' + escaped(arguments[i]);
  }
  before += ' ';
  std::string marked;
  std::string behind;
  if (span.argument < arguments.size()) {
    const std::string_view argument = arguments[span.argument];
    before += escaped(argument.substr(0, span.first));
    marked = escaped(argument.substr(span.first, span.length));
    behind = escaped(argument.substr(std::min(span.first + span.length, argument.size())));
    for (const std::string_view next : arguments.subspan(span.argument + 1)) {
      behind += ' ' + escaped(next);
    }
  }
  before = tail(before, kColumnsBefore);
  std::string line = before + head(marked + behind, kColumnsAfter);
  line.erase(line.find_last_not_of(' ') + 1);
  const std::size_t carets = std::clamp<std::size_t>(display_width(marked), 1, kColumnsAfter);
  return fmt::format("{}\n{}{}{}{}", line, std::string(display_width(before), ' '),
                     std::string(carets, '^'), remark.empty() ? "" : " ", remark);
}

std::string did_you_mean(std::string_view word) {
  return word.empty() ? std::string() : fmt::format("did you mean \"{}\"?", word);
}

}  // namespace shunt::cli
