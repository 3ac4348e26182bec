// SPDX-License-Identifier: GPL-2.0-only
// Reads single values out of JSON (RFC 8259) that other programs wrote, such as the state files of
// container engines: no tree is built, what was not asked for is passed over.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace shunt {

inline constexpr std::size_t kMostJsonDepth = 64;

/// A string, number, true, false or null, and where it stands. In {"a": [{"b": 1}]} the 1 stands at
/// the keys "a" and "b"; arrays add none.
struct JsonScalar {
  std::span<const std::string> keys;
  std::string_view text;  ///< a string's bytes with its escapes as they stand; else the word itself
  bool is_string = false;
  /// Number of the element of the outermost array that it is in, from 0; 0 where there is none.
  std::size_t element = 0;
};

/// Calls `visit` for each scalar, in order; the texts point into `json`. False where that is not
/// JSON, or nested deeper than kMostJsonDepth: what came before has been visited. No recursion.
bool scan_json(std::string_view json, const std::function<void(const JsonScalar&)>& visit);

}  // namespace shunt
