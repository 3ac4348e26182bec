// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>
#include <string_view>

namespace shunt {

/// `text` safe for a terminal and for one line: control bytes (C0, DEL, and C1 as UTF-8 carries
/// them) and bytes that are not UTF-8 become \xNN, a backslash becomes \\. Printable UTF-8 stays,
/// but for the invisible characters that reorder text (U+200E, U+200F, U+202A to U+202E, U+2028,
/// U+2029, U+2066 to U+2069), which become \xNN too.
[[nodiscard]] std::string escaped(std::string_view text);

}  // namespace shunt
