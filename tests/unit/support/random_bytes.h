// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <random>
#include <string>

namespace shunt::test {

/// The same bytes each time: a transfer that fails can be repeated.
inline std::string random_bytes(std::size_t size) {
  std::mt19937_64 generator(size);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(generator());
  return bytes;
}

}  // namespace shunt::test
