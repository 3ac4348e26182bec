// SPDX-License-Identifier: GPL-2.0-only
// Text that a peer chose, made safe for a log line (base/escape.h). At most limits::kLogTextBytes
// of it are shown; a longer one ends in "…".
#pragma once

#include <string>
#include <string_view>

namespace shunt {

/// For people: as escaped(). The signs that the lines are built with are escaped too, and so are
/// blanks in a row: they could imitate a line of their own where a terminal wraps.
[[nodiscard]] std::string shown(std::string_view text);

/// A JSON string with its quotes, whatever the bytes: what is not printable is escaped as \u202e;
/// an invalid byte turns into U+FFFD.
void append_json_string(std::string& out, std::string_view text);

/// Columns that valid UTF-8 takes on a terminal: its characters (wide ones count as one).
[[nodiscard]] std::size_t columns(std::string_view text);

}  // namespace shunt
