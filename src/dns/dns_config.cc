// SPDX-License-Identifier: GPL-2.0-only
#include "dns/dns_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error_numbers.h"
#include "dns/message.h"
#include "net/host_name.h"

namespace shunt {
namespace {

constexpr unsigned kSmallestRange = 2;  // bits
constexpr std::string_view kWildcard = "*.";

Failure mistake(const DnsConfig& config, std::string_view key, int number, std::string message,
                std::string help) {
  Error error = make_error(Kind::configuration, number, std::move(message), std::move(help));
  if (config.place) error.place = config.place(key);
  return Failure(std::move(error));
}

Result<Network> fake_range(const DnsConfig& config, std::string_view key, const std::string& text,
                           Family family) {
  const auto network = Network::parse(text);
  const bool right = network && network->address.family() == family;
  if (!right) {
    return mistake(
        config, key, error_number::kBadKeyValue,
        fmt::format("{} is no block of {} addresses", key,
                    family == Family::ipv4 ? "IPv4" : "IPv6"),
        family == Family::ipv4 ? "range4 = \"198.18.0.0/15\"" : "range6 = \"fd00:5375:6e74::/64\"");
  }
  const std::size_t bits = network->address.bytes().size() * 8 - network->prefix_length;
  const Address& first = network->address;
  if (bits < kSmallestRange || network->prefix_length < 7 || first.is_loopback() ||
      first.is_multicast() || first.is_link_local() || first.is_any()) {
    return mistake(config, key, error_number::kBadKeyValue,
                   fmt::format("{} cannot be used for fake addresses", text),
                   "take a block that nothing else uses: 198.18.0.0/15, or one of fd00::/8");
  }
  return *network;
}

Result<void> check_server(const DnsConfig& config) {
  const auto server = parse_dns_server(config.server);
  if (!server) {
    return mistake(config, "server", error_number::kBadKeyValue,
                   "the server for DNS is no address that shunt can ask",
                   "tcp://192.0.2.53, tls://192.0.2.53 or udp://192.0.2.53:5353; a name has to be "
                   "written as its address");
  }
  const bool tls = server->transport == DnsServerAddress::Transport::tls;
  for (const auto& [key, value] :
       {std::pair("tls-ca", config.tls_ca), std::pair("tls-server-name", config.tls_server_name)}) {
    if (value.empty() || tls) continue;
    return mistake(config, key, error_number::kOptionConflict,
                   fmt::format("{} is about TLS, and the server is not spoken to so", key),
                   "server = \"tls://…\", or leave it out");
  }
  return {};
}

Result<void> check_real(const DnsConfig& config) {
  for (std::size_t i = 0; i < config.real.size(); ++i) {
    const std::string& pattern = config.real[i];
    const bool below = pattern.starts_with(kWildcard);
    const std::string name = below ? pattern.substr(kWildcard.size()) : pattern;
    if (host_name(name) == name && !is_address(name)) continue;
    const bool wide = std::ranges::any_of(name, [](char byte) { return (byte & 0x80) != 0; });
    return mistake(config, fmt::format("real.{}", i), error_number::kBadKeyValue,
                   fmt::format("real: \"{}\" is no name, and no *.NAME for all below one", pattern),
                   wide ? "names are compared as they are sent: write the xn-- form"
                        : R"(real = ["printer.example", "*.corp.example"])");
  }
  return {};
}

/// `name` itself, or what is below it.
bool is_within(std::string_view name, std::string_view domain) {
  if (!name.ends_with(domain)) return false;
  return name.size() == domain.size() || name[name.size() - domain.size() - 1] == '.';
}

}  // namespace

bool DnsConfig::same_as(const DnsConfig& other) const {
  return mode == other.mode && server == other.server && via == other.via &&
         tls_ca == other.tls_ca && tls_server_name == other.tls_server_name &&
         range4 == other.range4 && range6 == other.range6 && real == other.real;
}

std::optional<DnsMode> dns_mode(std::string_view word) {
  if (word == "system") return DnsMode::system;
  if (word == "remote") return DnsMode::remote;
  if (word == "fake-ip") return DnsMode::fake_ip;
  return std::nullopt;
}

std::optional<DnsServerAddress> parse_dns_server(std::string_view text) {
  using Transport = DnsServerAddress::Transport;
  constexpr std::array<std::pair<std::string_view, Transport>, 3> kSchemes = {
      {{"udp://", Transport::udp}, {"tcp://", Transport::tcp}, {"tls://", Transport::tls}}};
  const auto* scheme = std::ranges::find_if(
      kSchemes, [text](const auto& one) { return text.starts_with(one.first); });
  if (scheme == kSchemes.end()) return std::nullopt;
  text.remove_prefix(scheme->first.size());
  DnsServerAddress server{.transport = scheme->second, .endpoint = {}};
  if (const auto endpoint = Endpoint::parse(text)) {
    server.endpoint = *endpoint;
  } else {
    if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
    const auto address = Address::parse(text);
    if (!address) return std::nullopt;
    server.endpoint = {.address = *address,
                       .port = scheme->second == Transport::tls ? dns::kTlsPort : dns::kPort};
  }
  const Address& address = server.endpoint.address;
  if (server.endpoint.port == 0 || address.is_any() || address.is_multicast()) return std::nullopt;
  return server;
}

Result<FakeRanges> fake_ranges(const DnsConfig& config) {
  FakeRanges ranges{.v4 = SHUNT_TRY(fake_range(config, "range4", config.range4, Family::ipv4)),
                    .v6 = {}};
  if (!config.range6.empty()) {
    ranges.v6 = SHUNT_TRY(fake_range(config, "range6", config.range6, Family::ipv6));
  }
  return ranges;
}

Result<void> check_dns(const DnsConfig& config) {
  SHUNT_CHECK(check_real(config));
  if (config.mode == DnsMode::system) {
    if (config.server.empty() && config.via.empty()) return {};
    return mistake(
        config, config.server.empty() ? "via" : "server", error_number::kOptionConflict,
        "with the mode \"system\" queries go where their clients send them, so no server "
        "is asked",
        "mode = \"remote\" or \"fake-ip\"");
  }
  if (config.mode == DnsMode::remote && config.server.empty()) {
    return mistake(config, "mode", error_number::kOptionConflict,
                   "the mode \"remote\" needs a server that shunt can ask",
                   "server = \"tcp://192.0.2.53\", or tls:// or udp://");
  }
  if (!config.server.empty()) SHUNT_CHECK(check_server(config));
  if (config.mode == DnsMode::fake_ip) SHUNT_CHECK(fake_ranges(config));
  return {};
}

bool matches_name(std::span<const std::string> patterns, std::string_view name) {
  return std::ranges::any_of(patterns, [name](std::string_view pattern) {
    if (!pattern.starts_with(kWildcard)) return pattern == name;
    return name.size() > pattern.size() - 1 && name.ends_with(pattern.substr(1));
  });
}

bool is_local_name(std::string_view name) {
  constexpr std::array<std::string_view, 4> kDomains = {"local", "localhost", "home.arpa",
                                                        "internal"};
  if (name.empty()) return false;  // the root
  if (name.find('.') == std::string_view::npos) return true;
  if (const auto address = dns::reverse_address(name)) {
    return address->is_private() || address->is_loopback() || address->is_link_local();
  }
  return std::ranges::any_of(kDomains, [name](auto domain) { return is_within(name, domain); });
}

}  // namespace shunt
