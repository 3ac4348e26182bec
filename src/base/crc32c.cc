// SPDX-License-Identifier: GPL-2.0-only
#include "base/crc32c.h"

#include <array>

namespace shunt {
namespace {

constexpr std::uint32_t kReversedPolynomial = 0x82f63b78;

constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value & 1) != 0 ? value >> 1 ^ kReversedPolynomial : value >> 1;
    }
    table[i] = value;
  }
  return table;
}();

}  // namespace

std::uint32_t crc32c(std::string_view bytes, std::uint32_t before) {
  std::uint32_t value = ~before;
  for (const char byte : bytes) {
    value = value >> 8 ^ kTable[(value ^ static_cast<std::uint8_t>(byte)) & 0xff];
  }
  return ~value;
}

}  // namespace shunt
