// SPDX-License-Identifier: GPL-2.0-only
#include "base/caret.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/escape.h"

namespace shunt {
namespace {

constexpr std::size_t kColumnsBefore = 56;  // of the line, in front of the mistake
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

CaretLines caret_lines(std::string_view before, std::string_view marked, std::string_view behind,
                       std::string_view remark) {
  const std::string shown_before = tail(as_written(before), kColumnsBefore);
  const std::string shown_marked = as_written(marked);
  CaretLines lines{.text = shown_before + head(shown_marked + as_written(behind), kColumnsAfter),
                   .carets = {}};
  lines.text.erase(lines.text.find_last_not_of(' ') + 1);
  const std::size_t carets = std::clamp<std::size_t>(display_width(shown_marked), 1, kColumnsAfter);
  lines.carets = fmt::format("{}{}{}{}", std::string(display_width(shown_before), ' '),
                             std::string(carets, '^'), remark.empty() ? "" : " ", remark);
  return lines;
}

std::string as_written(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    if (text.front() == '\\' || text.front() == '\t') {
      out += text.front() == '\t' ? ' ' : '\\';
      text.remove_prefix(1);
    } else {
      text.remove_prefix(append_first_escaped(out, text));
    }
  }
  return out;
}

std::string did_you_mean(std::string_view word) {
  return word.empty() ? std::string() : fmt::format("did you mean \"{}\"?", word);
}

}  // namespace shunt
