// SPDX-License-Identifier: GPL-2.0-only
#include "rule/mistake.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/caret.h"
#include "base/escape.h"

namespace shunt {
namespace {

CaretLines shown(const RuleMistake& mistake, std::string_view text, const RulePlace& place) {
  std::string_view line = text;
  std::size_t first = std::min(mistake.first, text.size());
  const std::size_t start = place.column == 0 ? 0 : place.column - 1;
  if (place.line != 0 && place.line_text.size() >= start + text.size()) {
    line = place.line_text;
    first += start;
  }
  const std::size_t length = std::min(mistake.length, line.size() - first);
  return caret_lines(line.substr(0, first), line.substr(first, length), line.substr(first + length),
                     did_you_mean(mistake.suggestion));
}

}  // namespace

std::unexpected<RuleMistake> mistake_at(TextSpan span, std::string message,
                                        std::string suggestion) {
  return std::unexpected(RuleMistake{.first = span.first,
                                     .length = std::max<std::size_t>(span.length, 1),
                                     .message = std::move(message),
                                     .suggestion = std::move(suggestion),
                                     .help = {}});
}

Error mistake_error(const RuleMistake& mistake, std::string_view text, const RulePlace& place,
                    Kind kind) {
  Error error = make_error(kind, mistake.number, mistake.message, mistake.help);
  const CaretLines lines = shown(mistake, text, place);
  const std::string number = place.line == 0 ? "" : fmt::format("{}", place.line);
  const std::string margin(number.size(), ' ');
  std::string where = escaped(place.file);
  if (place.line != 0) {
    where += fmt::format(":{}:{}", place.line, place.column + mistake.first);
  }
  error.place =
      fmt::format("{}\n{} | {}\n{} | {}", where, number, lines.text, margin, lines.carets);
  return error;
}

}  // namespace shunt
