// SPDX-License-Identifier: GPL-2.0-only
// Whatever goes in, no control byte comes out.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/escape.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string out = shunt::escaped({reinterpret_cast<const char*>(data), size});
  for (const char byte : out) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x20 || value == 0x7f) std::abort();
  }
  if (out.size() > 4 * size) std::abort();
  return 0;
}
