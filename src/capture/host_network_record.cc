// SPDX-License-Identifier: GPL-2.0-only
#include "capture/host_network_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace shunt {
namespace {

std::string_view next_part(std::string_view& rest, char separator) {
  const auto part = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(part.size() + 1, rest.size()));
  return part;
}

std::optional<Destinations> parse_destinations(std::string_view text) {
  const auto address = Address::parse(next_part(text, '/'));
  unsigned length = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), length);
  if (!address || parsed.ec != std::errc{} || length > (address->is_v4() ? 32U : 128U)) {
    return std::nullopt;
  }
  return Destinations{*address, static_cast<std::uint8_t>(length)};
}

std::optional<HostFamily> parse_family(std::string_view line) {
  HostFamily family;
  if (line.empty()) return family;
  family.source = Address::parse(next_part(line, ' '));
  if (!family.source) return std::nullopt;
  while (!line.empty()) {
    const auto destinations = parse_destinations(next_part(line, ' '));
    if (!destinations) return std::nullopt;
    family.routes.push_back(*destinations);
  }
  return family;
}

std::string family_line(const HostFamily& family) {
  if (!family.source) return "\n";
  std::string line = family.source->text();
  for (const auto& [address, length] : family.routes) {
    line += fmt::format(" {}/{}", address.text(), length);
  }
  return line + "\n";
}

}  // namespace

std::string host_network_record(const HostNetwork& host) {
  return family_line(host.ipv4) + family_line(host.ipv6);
}

std::optional<HostNetwork> host_network_from_record(std::string_view record) {
  const auto ipv4 = parse_family(next_part(record, '\n'));
  const auto ipv6 = parse_family(next_part(record, '\n'));
  if (!ipv4 || !ipv6) return std::nullopt;
  return HostNetwork{*ipv4, *ipv6};
}

}  // namespace shunt
