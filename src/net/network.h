// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "net/endpoint.h"

namespace shunt {

/// A CIDR block of either family (RFC 4632, RFC 4291 section 2.3); a single address is a block too.
struct Network {
  Address address;             ///< the bits behind the prefix are zero
  unsigned prefix_length = 0;  ///< of `address`: 0 to 32 or 0 to 128

  /// "192.0.2.0/24", "2001:db8::1". Bits behind the prefix are ignored. A block of IPv4-mapped
  /// addresses ("::ffff:192.0.2.0/120") is the IPv4 block that it stands for.
  static std::optional<Network> parse(std::string_view text);
  static Network of(const Address& address, unsigned prefix_length);

  [[nodiscard]] bool contains(const Address& other) const;
  [[nodiscard]] bool contains(const Network& other) const;
  [[nodiscard]] bool is_single() const { return prefix_length == address.bytes().size() * 8; }
  [[nodiscard]] std::string text() const;  ///< without "/32" or "/128"
  auto operator<=>(const Network&) const = default;
};

}  // namespace shunt
