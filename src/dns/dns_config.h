// SPDX-License-Identifier: GPL-2.0-only
// What becomes of captured queries of DNS, as the user says it (docs/dns.md). Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/endpoint.h"
#include "net/network.h"

namespace shunt {

enum class DnsMode : std::uint8_t {
  system,   ///< they go where the client sends them, as everything else does
  remote,   ///< shunt asks a server of its own through a way out
  fake_ip,  ///< names are given fake addresses; what else is asked goes as above
};

struct DnsConfig {
  DnsMode mode = DnsMode::system;
  std::string server = {};  ///< "tls://192.0.2.53"; "": none
  std::string via = {};     ///< the way out that leads there; "": that of the rules' default
  std::string tls_ca = {};  ///< PEM file; "": the system's
  std::string tls_server_name = {};
  std::string range4 = "198.18.0.0/15";  ///< RFC 2544: for benchmarks of networks
  std::string range6 = {};               ///< "": no fake addresses of IPv6
  std::vector<Address> trusted = {};     ///< resolvers whose answers tie names to addresses
  std::vector<std::string> real = {};    ///< "printer.example", "*.example": never faked
  /// Where a key of it stands, as Error::place; may be empty. "real.N" is an element, from 0.
  std::function<std::string(std::string_view key)> place = {};

  /// Whether queries fare the same: all but `trusted`.
  [[nodiscard]] bool same_as(const DnsConfig& other) const;
};

[[nodiscard]] std::optional<DnsMode> dns_mode(std::string_view word);

struct DnsServerAddress {
  enum class Transport : std::uint8_t { udp, tcp, tls };
  Transport transport = Transport::tcp;
  Endpoint endpoint;
};
/// udp://ADDRESS[:PORT], tcp://… or tls://…; 53 or 853 where there is no port. Nothing for a name:
/// who would look it up?
[[nodiscard]] std::optional<DnsServerAddress> parse_dns_server(std::string_view text);

struct FakeRanges {
  Network v4;
  std::optional<Network> v6;
};
[[nodiscard]] Result<FakeRanges> fake_ranges(const DnsConfig& config);

/// What can be seen in it alone: the first mistake, with its place.
[[nodiscard]] Result<void> check_dns(const DnsConfig& config);

/// Whether `name` (dns/message.h) is one of `patterns`: itself, or "*.x" for all below x.
[[nodiscard]] bool matches_name(std::span<const std::string> patterns, std::string_view name);

/// Names that only the network around knows: single labels, below .local (RFC 6762), .localhost
/// (RFC 6761), home.arpa (RFC 8375) and .internal, and addresses of private ranges (RFC 6303).
[[nodiscard]] bool is_local_name(std::string_view name);

}  // namespace shunt
