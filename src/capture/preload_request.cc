// SPDX-License-Identifier: GPL-2.0-only
#include "capture/preload_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace shunt {

std::optional<PreloadRequest> parse_preload_request(std::string_view bytes) {
  shunt_preload_request raw;
  if (bytes.size() != sizeof raw) return std::nullopt;
  std::memcpy(&raw, bytes.data(), sizeof raw);
  const bool known = raw.kind >= SHUNT_PRELOAD_HELLO && raw.kind <= SHUNT_PRELOAD_LAST_KIND;
  if (raw.version != SHUNT_PRELOAD_VERSION || !known) return std::nullopt;
  if (raw.address_size > sizeof raw.address) return std::nullopt;
  PreloadRequest request;
  request.kind = static_cast<shunt_preload_kind>(raw.kind);
  std::ranges::copy(raw.token, request.token.begin());
  std::memcpy(&request.address, &raw.address, raw.address_size);
  request.address_size = raw.address_size;
  return request;
}

bool same_token(const PreloadToken& one, const PreloadToken& other) {
  unsigned differences = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    differences |= static_cast<unsigned>(one[i]) ^ static_cast<unsigned>(other[i]);
  }
  return differences == 0;
}

std::string token_text(const PreloadToken& token) {
  std::string text;
  for (const std::uint8_t byte : token) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace shunt
