// SPDX-License-Identifier: GPL-2.0-only
// The text of a configuration file, kept to show places in it. What looks like a password in a
// line is shown as asterisks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "rule/mistake.h"

namespace shunt {

/// A part of one line, in bytes.
struct TextPlace {
  std::uint32_t line = 0;    ///< from 1; 0: nowhere
  std::uint32_t column = 1;  ///< from 1
  std::uint32_t length = 0;
};

class SourceText {
 public:
  /// `file` is what it is called in errors. A byte order mark at the beginning is left out.
  SourceText(std::string file, std::string text);

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] std::string_view text() const { return text_; }
  /// Without its end; "" behind the last. Lines are counted from 1.
  [[nodiscard]] std::string_view line(std::uint32_t number) const;
  /// How many bytes the first `characters` characters of a line take; in a very long line taken as
  /// one each.
  [[nodiscard]] std::uint32_t bytes_of(std::uint32_t line, std::uint32_t characters) const;

  /// Where a rule stands whose text begins with the place; for rule/mistake.h.
  [[nodiscard]] RulePlace rule_place(const TextPlace& place) const;
  /// A configuration error that shows the place with carets, and `suggestion` beside them.
  [[nodiscard]] Error error_at(const TextPlace& place, int number, std::string message,
                               std::string help = {}, std::string_view suggestion = {}) const;

 private:
  std::string file_;
  std::string text_;
  std::vector<std::size_t> starts_;  // of the lines
};

}  // namespace shunt
