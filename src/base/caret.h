// SPDX-License-Identifier: GPL-2.0-only
// The two lines that show a mistake: a text and, below it, carets under the part that is meant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace shunt {

struct CaretLines {
  std::string text;    ///< cut on both sides where it is long, marked by "…"
  std::string carets;  ///< spaces and carets, then the remark
};

/// `before`, `marked` and `behind` make up the line and may hold any bytes: they are escaped. At
/// least one caret, also where nothing is marked: the end of a line can be pointed at.
[[nodiscard]] CaretLines caret_lines(std::string_view before, std::string_view marked,
                                     std::string_view behind, std::string_view remark = {});

/// `did you mean "WORD"?`, or "" for an empty word.
[[nodiscard]] std::string did_you_mean(std::string_view word);

/// How many columns a terminal needs for printable UTF-8 (one a character; shunt prints no wide or
/// combining ones of its own).
[[nodiscard]] std::size_t display_width(std::string_view text);

/// What a user wrote, to be read and pasted back: as escaped(), but a backslash stays one, and a
/// tab is a blank.
[[nodiscard]] std::string as_written(std::string_view text);

}  // namespace shunt
