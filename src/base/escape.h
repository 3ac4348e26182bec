// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace shunt {

/// One character of UTF-8 text.
struct Character {
  char32_t code = 0;
  std::size_t bytes = 0;  ///< 0: not UTF-8
};

/// The first character of non-empty `text` (RFC 3629: no overlong forms, no surrogates).
[[nodiscard]] Character first_character(std::string_view text);

/// Whether a character is safe on a terminal and shows. Not so: controls (C0, DEL, C1), separators
/// of lines and paragraphs, what reorders or joins its surroundings or is invisible (bidi,
/// zero-width, tags, variation selectors, fillers), combining marks, private and unassigned planes.
[[nodiscard]] bool is_printable(char32_t code);

/// `text` safe for a terminal and for one line: bytes that are not UTF-8 and those of characters
/// that are not printable become \xNN, a backslash becomes \\.
[[nodiscard]] std::string escaped(std::string_view text);
/// The same for the first character of `text`; returns its bytes.
std::size_t append_first_escaped(std::string& out, std::string_view text);

}  // namespace shunt
