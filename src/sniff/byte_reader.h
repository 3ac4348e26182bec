// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace shunt {

/// Reads big-endian fields off the front of a text it does not own. Past its end everything is
/// zero or empty and ok() turns false for good, so that a parser may check once at its end.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool more() const { return ok_ && !rest_.empty(); }
  /// Bytes that were not read.
  [[nodiscard]] std::size_t left() const { return rest_.size(); }

  /// An unsigned number of `size` bytes, at most 4.
  std::uint32_t number(std::size_t size) {
    std::uint32_t value = 0;
    for (const char byte : take(size)) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  }

  std::string_view take(std::size_t size) {
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view part = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return part;
  }

  /// A vector with a length of `length_size` bytes before it.
  std::string_view vector(std::size_t length_size) { return take(number(length_size)); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace shunt
