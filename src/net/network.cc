// SPDX-License-Identifier: GPL-2.0-only
#include "net/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace shunt {
namespace {

constexpr unsigned kMappedBits = 96;  // ::ffff:0:0/96

Address masked(const Address& address, unsigned prefix_length) {
  std::array<std::uint8_t, 16> bytes{};
  const std::string_view from = address.bytes();
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::size_t keep =
        std::min<std::size_t>(8, prefix_length - std::min<std::size_t>(prefix_length, i * 8));
    bytes[i] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(from[i]) &
                                         static_cast<std::uint8_t>(0xff00U >> keep));
  }
  if (!address.is_v4()) {
    in6_addr v6{};
    std::ranges::copy(bytes, v6.s6_addr);
    return Address(v6);
  }
  in_addr v4{};
  std::copy_n(bytes.begin(), 4, reinterpret_cast<std::uint8_t*>(&v4));
  return Address(v4);
}

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Network> Network::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = Address::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const auto bits = static_cast<unsigned>(address->bytes().size() * 8);
  if (slash == std::string_view::npos) return Network{*address, bits};
  auto length = number(text.substr(slash + 1));
  if (!length) return std::nullopt;
  const bool mapped = address->is_v4() && text.contains(':');
  if (mapped) {
    if (*length < kMappedBits) return std::nullopt;
    *length -= kMappedBits;
  }
  if (*length > bits) return std::nullopt;
  return of(*address, *length);
}

Network Network::of(const Address& address, unsigned prefix_length) {
  return Network{masked(address, prefix_length), prefix_length};
}

bool Network::contains(const Address& other) const {
  return address.family() == other.family() && masked(other, prefix_length) == address;
}

bool Network::contains(const Network& other) const {
  return prefix_length <= other.prefix_length && contains(other.address);
}

std::string Network::text() const {
  return is_single() ? address.text() : fmt::format("{}/{}", address.text(), prefix_length);
}

}  // namespace shunt
