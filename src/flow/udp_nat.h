// SPDX-License-Identifier: GPL-2.0-only
// How UDP behaves towards peers, in the words of RFC 4787.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/udp_limits.h"

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

/// How long something lives without a datagram that renews it (RFC 4787 section 4.3), milliseconds.
struct UdpTimeouts {
  std::uint32_t unanswered = limits::kUdpUnrepliedTimeoutMs;  ///< a session
  std::uint32_t answered = limits::kUdpRepliedTimeoutMs;      ///< a session, once it was answered
  std::uint32_t quic = limits::kUdpQuicTimeoutMs;             ///< the same of QUIC
  std::uint32_t query = limits::kUdpDnsTimeoutMs;             ///< DNS and NTP, after the answer
  std::uint32_t mapping = limits::kUdpMappingTimeoutMs;       ///< since the client last sent by it
  bool operator==(const UdpTimeouts&) const = default;
};

struct UdpNat {
  NatMapping mapping = NatMapping::endpoint_independent;
  NatFiltering filtering = NatFiltering::endpoint_independent;
  UdpTimeouts timeouts = {};
  bool operator==(const UdpNat&) const = default;
};

/// As options and configuration files have them, in the order of the enumerators.
inline constexpr std::array<std::string_view, 3> kNatMappings = {"endpoint-independent",
                                                                 "address-dependent", "symmetric"};
inline constexpr std::array<std::string_view, 3> kNatFilterings = {
    "endpoint-independent", "address-dependent", "address-and-port-dependent"};

/// Of a word of the lists above; the first for every other.
[[nodiscard]] constexpr NatMapping nat_mapping(std::string_view word) {
  for (std::size_t i = 0; i < kNatMappings.size(); ++i) {
    if (kNatMappings[i] == word) return static_cast<NatMapping>(i);
  }
  return {};
}
[[nodiscard]] constexpr NatFiltering nat_filtering(std::string_view word) {
  for (std::size_t i = 0; i < kNatFilterings.size(); ++i) {
    if (kNatFilterings[i] == word) return static_cast<NatFiltering>(i);
  }
  return {};
}

}  // namespace shunt
