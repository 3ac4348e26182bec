// SPDX-License-Identifier: GPL-2.0-only
#include "net/host_name.h"

#include <algorithm>
#include <cstddef>

#include "net/endpoint.h"

namespace shunt {
namespace {

constexpr std::size_t kNameBytes = 253;
constexpr std::size_t kLabelBytes = 63;

char lower(char byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte;
}

}  // namespace

std::optional<std::string> host_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > kNameBytes) return std::nullopt;
  std::string name(text.size(), '\0');
  std::ranges::transform(text, name.begin(), lower);
  std::size_t label = 0;
  for (const char byte : name) {
    const bool fits =
        (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
    if (byte == '.' ? label == 0 : !fits || label == kLabelBytes) return std::nullopt;
    label = byte == '.' ? 0 : label + 1;
  }
  if (label == 0) return std::nullopt;
  return name;
}

bool is_address(std::string_view text) {
  return Address::parse(text.substr(0, text.find('%'))).has_value();
}

}  // namespace shunt
