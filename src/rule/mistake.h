// SPDX-License-Identifier: GPL-2.0-only
// What is wrong with a rule, and where, as users see it:
//   error[S012]: unknown way out "wan22"
//     --> /etc/shunt/shunt.toml:14:37
//         14 |   "client 192.168.1.50 port 80 -> wan22",
//            |                                   ^^^^^ did you mean "wan2"?
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/error_numbers.h"
#include "rule/rule.h"

namespace shunt {

/// A part of a rule's text, in bytes, and what is wrong with it.
struct RuleMistake {
  std::size_t first = 0;
  std::size_t length = 0;
  std::string message;     ///< "unknown term \"prot\""
  std::string suggestion;  ///< a word that may have been meant, or ""
  std::string help;        ///< what mends it, or ""
  int number = error_number::kBadRule;
};

template <class T>
using Parsed = std::expected<T, RuleMistake>;

[[nodiscard]] std::unexpected<RuleMistake> mistake_at(TextSpan span, std::string message,
                                                      std::string suggestion = {});

/// Where a rule's text stands. A rule in a file has the line that it stands in, and the column (in
/// bytes, from 1) of its first character: in a TOML literal string the one behind the quote.
struct RulePlace {
  std::string file;        ///< or "--rule"
  std::uint32_t line = 0;  ///< from 1; 0: not in a file, the rule is shown by itself
  std::uint32_t column = 1;
  std::string line_text;  ///< the whole line; "": the rule's text is shown instead
};

/// An Error whose place shows `text` with carets.
[[nodiscard]] Error mistake_error(const RuleMistake& mistake, std::string_view text,
                                  const RulePlace& place, Kind kind = Kind::configuration);

}  // namespace shunt
