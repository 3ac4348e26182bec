// SPDX-License-Identifier: GPL-2.0-only
#include <array>
#include <charconv>
#include <cstring>

#include "dns/message.h"

namespace shunt::dns {
namespace {

constexpr std::string_view kOfIpv4 = ".in-addr.arpa";
constexpr std::string_view kOfIpv6 = ".ip6.arpa";
constexpr std::size_t kNibbles = 32;

/// "d.c.b.a", the last byte first.
std::optional<Address> from_bytes(std::string_view text) {
  std::array<std::uint8_t, 4> bytes{};
  for (std::size_t i = bytes.size(); i-- > 0;) {
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, bytes[i]);
    const auto size = static_cast<std::size_t>(rest - text.data());
    if (error != std::errc() || (size > 1 && text.front() == '0')) return std::nullopt;
    text.remove_prefix(size);
    if (i == 0) break;
    if (!text.starts_with('.')) return std::nullopt;
    text.remove_prefix(1);
  }
  if (!text.empty()) return std::nullopt;
  in_addr v4{};
  std::memcpy(&v4, bytes.data(), sizeof v4);
  return Address(v4);
}

/// "b.a.9.…", the last nibble first.
std::optional<Address> from_nibbles(std::string_view text) {
  if (text.size() != 2 * kNibbles - 1) return std::nullopt;
  in6_addr v6{};
  for (std::size_t i = 0; i < kNibbles; ++i) {
    const char digit = text[2 * i];
    if (i + 1 < kNibbles && text[2 * i + 1] != '.') return std::nullopt;
    std::uint8_t nibble = 0;
    if (std::from_chars(&digit, &digit + 1, nibble, 16).ec != std::errc()) return std::nullopt;
    std::uint8_t& byte = v6.s6_addr[(kNibbles - 1 - i) / 2];
    byte = static_cast<std::uint8_t>(byte | nibble << (i % 2 == 0 ? 0 : 4));
  }
  return Address(v6);
}

}  // namespace

std::optional<Address> reverse_address(std::string_view name) {
  if (name.ends_with(kOfIpv4)) return from_bytes(name.substr(0, name.size() - kOfIpv4.size()));
  if (name.ends_with(kOfIpv6)) return from_nibbles(name.substr(0, name.size() - kOfIpv6.size()));
  return std::nullopt;
}

}  // namespace shunt::dns
