// SPDX-License-Identifier: GPL-2.0-only
// Points at the part of a command line that a mistake is in:
//   --> shunt gateway --interfce br-lan
//                     ^^^^^^^^^^ did you mean "--interface"?
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/caret.h"

namespace shunt::cli {

/// A part of one argument, in bytes; the argument behind the last one is the end of the line.
struct Span {
  std::size_t argument = 0;
  std::size_t first = 0;
  std::size_t length = 0;
};

/// For Error::place. An empty `command` means that the arguments follow `shunt` itself.
std::string point_at(std::string_view command, std::span<const std::string_view> arguments,
                     const Span& span, std::string_view remark = {});

/// As one word of a shell's, in quotes where it needs them.
std::string shell_quoted(std::string_view word);

/// The same where all that is left of the command line is an option and its value, which is marked.
std::string point_at_value(std::string_view command, std::string_view option,
                           std::string_view value);

}  // namespace shunt::cli
