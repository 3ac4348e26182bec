// SPDX-License-Identifier: GPL-2.0-only
// Help as text, made from the tables in options.h.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cli/options.h"

namespace shunt::cli {

std::string overview();                            ///< `shunt help`
std::string command_help(const Command& command);  ///< `shunt help NAME`
std::string error_list();                          ///< `shunt help errors`
std::string exit_codes();                          ///< `shunt help exit-codes`

/// An option's help with its default and its choices: "… (default 300ms)".
std::string option_help(const Option& option);

/// `text` broken at spaces to 80 columns, each line indented; paragraphs are separated by "\n\n".
std::string wrapped(std::string_view text, std::size_t indent);

struct ExitCode {
  std::string_view code;
  std::string_view meaning;
};
std::span<const ExitCode> exit_code_list();

}  // namespace shunt::cli
