// SPDX-License-Identifier: GPL-2.0-only
// TOML 1.0 as a tree in which everything knows where it stands. The one place that sees toml++.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/source_text.h"

namespace shunt {

struct TomlKey {
  std::string name;
  TextPlace place;
};

struct TomlValue {
  enum class Type : std::uint8_t { text, integer, boolean, array, table, other };
  Type type = Type::table;
  /// With the quotes or brackets; of a table its header.
  TextPlace place = {};
  std::string text = {};
  std::int64_t integer = 0;
  bool boolean = false;
  std::vector<TomlKey> keys = {};      ///< of a table, in the file's order
  std::vector<TomlValue> values = {};  ///< of a table, one for each key; of an array

  /// Null: no such key, or this is no table.
  [[nodiscard]] const TomlValue* find(std::string_view key) const;
};

/// Where the characters of a text begin, between its quotes. `exact`: each character of the value
/// is one of the file, so that a place in one is a place in the other (a literal string, or one
/// without escapes, in one line).
struct StringPlace {
  TextPlace place;
  bool exact = false;
};
[[nodiscard]] StringPlace inside_quotes(const SourceText& source, const TomlValue& text);

/// The root table, or the first thing that is not TOML.
[[nodiscard]] std::expected<TomlValue, Error> parse_toml(const SourceText& source);

}  // namespace shunt
