// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

namespace shunt {

/// The text with its line ends as `fd` needs them: CR LF for a terminal that a program has put into
/// raw mode (an editor, ssh), where LF alone only goes down a line; unchanged for every other file.
/// Asks the terminal each time, as the program may end: one system call, for a batch of lines.
[[nodiscard]] std::string with_line_ends_for(int fd, std::string text);

/// Whether what is written to `fd` may be coloured: a terminal that can, and no NO_COLOR
/// (no-color.org: set and not empty).
[[nodiscard]] bool wants_colour(int fd);

}  // namespace shunt
