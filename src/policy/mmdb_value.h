// SPDX-License-Identifier: GPL-2.0-only
// The values in a MaxMind DB file: maps, texts and numbers behind control bytes. Bounds-checked;
// no recursion and no allocation.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace shunt {

/// A position in a section of values, and how many steps may still be made from there: a file can
/// make a map of four billion entries out of one byte each.
class MmdbValue {
 public:
  MmdbValue(std::string_view section, std::size_t at) : section_(section), at_(at) {}

  /// The member `key` of a map; empty where there is none, this is no map or the bytes are off.
  [[nodiscard]] std::optional<MmdbValue> member(std::string_view key) const;
  /// The text of a string; it lies in the section.
  [[nodiscard]] std::optional<std::string_view> text() const;
  /// An unsigned integer of at most 64 bits.
  [[nodiscard]] std::optional<std::uint64_t> number() const;

 private:
  enum class Type : std::uint8_t {
    pointer = 1,
    text = 2,
    float64 = 3,
    bytes = 4,
    uint16 = 5,
    uint32 = 6,
    map = 7,
    int32 = 8,
    uint64 = 9,
    uint128 = 10,
    array = 11,
    cache = 12,
    end = 13,
    boolean = 14,
    float32 = 15,
  };
  /// A control byte and what belongs to it.
  struct Head {
    Type type;
    std::uint32_t size;   // bytes; of a map and an array entries; of a pointer where it leads
    std::size_t payload;  // where it begins
  };

  [[nodiscard]] std::optional<std::uint32_t> big_endian(std::size_t at, std::size_t bytes) const;
  [[nodiscard]] std::optional<Head> raw_head(std::size_t at) const;
  /// With a pointer followed, once.
  [[nodiscard]] std::optional<Head> head(std::size_t at) const;
  [[nodiscard]] std::optional<Head> pointer_head(std::size_t at, unsigned control) const;
  /// Where what follows the value at `at` begins.
  [[nodiscard]] std::optional<std::size_t> skip(std::size_t at, unsigned& steps) const;

  std::string_view section_;
  std::size_t at_;
};

}  // namespace shunt
