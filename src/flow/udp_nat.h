// SPDX-License-Identifier: GPL-2.0-only
// How UDP behaves towards peers, in the words of RFC 4787.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shunt {

/// RFC 4787 section 4.1: for which of a client socket's destinations it shows the same endpoint.
enum class NatMapping : std::uint8_t {
  endpoint_independent,  ///< all of them
  address_dependent,     ///< those on one address
  symmetric,             ///< none: address and port-dependent
};

/// RFC 4787 section 5: whose datagrams reach a client socket.
enum class NatFiltering : std::uint8_t {
  endpoint_independent,        ///< everybody's
  address_dependent,           ///< those from addresses that it has sent to
  address_and_port_dependent,  ///< those from endpoints that it has sent to
};

struct UdpNat {
  NatMapping mapping = NatMapping::endpoint_independent;
  NatFiltering filtering = NatFiltering::endpoint_independent;
  bool operator==(const UdpNat&) const = default;
};

/// As options and configuration files have them, in the order of the enumerators.
inline constexpr std::array<std::string_view, 3> kNatMappings = {"endpoint-independent",
                                                                 "address-dependent", "symmetric"};
inline constexpr std::array<std::string_view, 3> kNatFilterings = {
    "endpoint-independent", "address-dependent", "address-and-port-dependent"};

/// Of a word of the lists above; the first for every other.
[[nodiscard]] constexpr NatMapping nat_mapping(std::string_view word) {
  for (std::uint8_t i = 0; i < kNatMappings.size(); ++i) {
    if (kNatMappings[i] == word) return NatMapping{i};
  }
  return {};
}
[[nodiscard]] constexpr NatFiltering nat_filtering(std::string_view word) {
  for (std::uint8_t i = 0; i < kNatFilterings.size(); ++i) {
    if (kNatFilterings[i] == word) return NatFiltering{i};
  }
  return {};
}

}  // namespace shunt
