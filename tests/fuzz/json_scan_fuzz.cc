// SPDX-License-Identifier: GPL-2.0-only
// Texts lie within the input, elements never go back within an array at the top, and nothing is
// deeper than the limit.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json_scan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  shunt::scan_json(json, [&](const shunt::JsonScalar& scalar) {
    if (scalar.text.data() < json.data()) std::abort();
    if (scalar.text.data() + scalar.text.size() > json.data() + json.size()) std::abort();
    if (scalar.keys.size() > shunt::kMostJsonDepth) std::abort();
    if (scalar.element > json.size()) std::abort();
  });
  return 0;
}
