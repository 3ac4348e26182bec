// SPDX-License-Identifier: GPL-2.0-only
// Whatever a stranger sends for a request: what is taken for one has a known kind and an address
// that fits, and says what was sent.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "capture/preload_request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto request = shunt::parse_preload_request(bytes);
  if (!request) return 0;
  if (size != sizeof(shunt_preload_request)) std::abort();
  if (request->kind < SHUNT_PRELOAD_HELLO || request->kind > SHUNT_PRELOAD_LAST_KIND) std::abort();
  if (request->address_size > sizeof request->address) std::abort();
  shunt_preload_request raw;
  std::memcpy(&raw, data, sizeof raw);
  if (std::memcmp(&raw.address, &request->address, request->address_size) != 0) std::abort();
  return 0;
}
