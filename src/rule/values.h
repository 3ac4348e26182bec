// SPDX-License-Identifier: GPL-2.0-only
// What the values of each term may look like.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/host_name.h"
#include "rule/mistake.h"
#include "rule/rule.h"

namespace shunt {

/// A value before it is known what it means.
struct RawValue {
  std::string text;   ///< without quotes and sigil
  TextSpan span;      ///< with them
  char sigil = '\0';  ///< '~' for a pattern, '@' for a file, else '\0'
  bool quoted = false;
};

/// `key` as a word of a rule; empty: there is no such term.
[[nodiscard]] std::optional<TermKey> key_of(std::string_view word);
/// All of them, for suggestions.
[[nodiscard]] std::span<const std::string_view> key_names();

/// One value of any term but `time`.
[[nodiscard]] Parsed<Value> typed_value(TermKey key, const RawValue& raw);

/// "N" or "N-M"; empty where it is neither, or M < N.
struct NumberRange {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
};
[[nodiscard]] std::optional<NumberRange> number_range(std::string_view text);

/// The seven days, Monday first: "mon" … "sun".
[[nodiscard]] std::optional<unsigned> weekday(std::string_view word);
/// Minutes of the week of "HH:MM-HH:MM" on the days of `days` (bit 0: Monday). A span that ends
/// before it begins goes on after midnight. Both ends of a range belong to it.
[[nodiscard]] std::optional<std::vector<NumberRange>> week_minutes(unsigned days,
                                                                   std::string_view span);

}  // namespace shunt
