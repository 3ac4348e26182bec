// SPDX-License-Identifier: GPL-2.0-only
#include "cli/route_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "base/units.h"
#include "cli/options.h"
#include "cli/place.h"
#include "cli/report.h"
#include "kernel/links.h"
#include "kernel/policy_route.h"
#include "kernel/sysctl.h"
#include "net/network.h"

namespace shunt::cli {
namespace {

constexpr std::size_t kMostNameServers = 3;  // MAXNS, resolv.conf(5)
constexpr std::uint32_t kMainTable = 254;    // RT_TABLE_MAIN
constexpr std::string_view kNothingSaid =
    "say at least one of --interface, --mark, --gateway, --table, --source and --dns";

Failure bad_value(std::string_view option, std::string_view value, std::string message,
                  std::string help) {
  Error error =
      make_error(Kind::usage, error_number::kBadRoute, std::move(message), std::move(help));
  error.place = point_at_value("route", option, value);
  return Failure(std::move(error));
}

Result<Address> address_of(std::string_view option, const std::string& text) {
  const auto address = Address::parse(text);
  if (address && !address->is_any() && !address->is_multicast()) return *address;
  return bad_value(option, text, fmt::format("\"{}\" is no address of a host", text),
                   fmt::format("--{} 192.0.2.1, or --{} 2001:db8::1", option, option));
}

/// Decimal, or with "0x" in hexadecimal, as ip(8) takes it.
std::optional<std::uint32_t> number_of(std::string_view text) {
  const bool hexadecimal = text.starts_with("0x");
  if (hexadecimal) text.remove_prefix(2);
  std::uint32_t value = 0;
  const auto read =
      std::from_chars(text.data(), text.data() + text.size(), value, hexadecimal ? 16 : 10);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<std::uint32_t> number(const Options& options, std::string_view option) {
  if (!options.has(option)) return 0;
  const std::string text = options.value(option);
  const auto value = number_of(text);
  if (value && *value != 0) return *value;
  return bad_value(option, text, fmt::format("\"{}\" is no number above 0", text),
                   fmt::format("--{} 100, or --{} 0x64", option, option));
}

template <class T>
bool another_of_family(const std::vector<T>& known, const Address& address) {
  return std::ranges::any_of(known, [&](const T& one) {
    if constexpr (requires { one.address; })
      return one.address.family() == address.family();
    else
      return one.family() == address.family();
  });
}

Result<void> take_sources(const Options& options, const std::vector<InterfaceAddress>& own,
                          SocketRoute& sockets) {
  for (const std::string& text : options.values("source")) {
    const Address address = SHUNT_TRY(address_of("source", text));
    auto& place = address.is_v4() ? sockets.source_v4 : sockets.source_v6;
    if (place) {
      return bad_value("source", text, "a second source of the same family",
                       "one of IPv4 and one of IPv6");
    }
    if (std::ranges::find(own, address, &InterfaceAddress::address) == own.end()) {
      return bad_value("source", text, fmt::format("{} is no address of this machine", text),
                       "ip address      (lists them)");
    }
    place = address;
  }
  return {};
}

/// The interface that has a network with the gateway in it.
Result<std::string> interface_towards(const Address& gateway, const std::string& text,
                                      const std::vector<InterfaceAddress>& own) {
  for (const InterfaceAddress& entry : own) {
    if (entry.address.family() != gateway.family() || gateway.is_link_local()) continue;
    if (Network::of(entry.address, entry.prefix_length).contains(gateway)) return entry.interface;
  }
  return bad_value("gateway", text, fmt::format("no interface has a network with {} in it", text),
                   "--interface IFACE      (says which one reaches it)");
}

Result<void> take_gateways(const Options& options, const std::vector<InterfaceAddress>& own,
                           RouteRequest& request) {
  for (const std::string& text : options.values("gateway")) {
    const Address address = SHUNT_TRY(address_of("gateway", text));
    if (another_of_family(request.gateways, address)) {
      return bad_value("gateway", text, "a second gateway of the same family",
                       "one of IPv4 and one of IPv6");
    }
    std::string interface = request.sockets.interface;
    if (interface.empty()) interface = SHUNT_TRY(interface_towards(address, text, own));
    request.gateways.push_back({.address = address, .interface = std::move(interface)});
  }
  return {};
}

Result<std::string> resolver_file(const Options& options) {
  const auto servers = options.values("dns");
  std::string text;
  for (const std::string& server : servers) {
    text += fmt::format("nameserver {}\n", SHUNT_TRY(address_of("dns", server)).text());
  }
  if (servers.size() <= kMostNameServers) return text;
  return bad_value("dns", servers.back(), "programs ask three name servers at most",
                   "leave one out");
}

Result<void> check_together(const Options& options) {
  const auto given = [&](std::string_view name) { return options.has(name); };
  constexpr std::array kAny = {"interface", "mark", "gateway", "table", "source", "dns"};
  if (std::ranges::none_of(kAny, given)) {
    return Failure(make_error(Kind::usage, error_number::kBadRoute,
                              "nothing says which way it is to take", std::string(kNothingSaid)));
  }
  if (!options.has("gateway") || !options.has("table")) return {};
  return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                            "--gateway makes a table of its own, and --table names another",
                            "leave one of the two out"));
}

/// Of interfaces that have no neighbours to ask for.
bool needs_gateway(std::string_view interface) {
  constexpr std::array<std::string_view, 8> kPointToPoint = {"tun",  "wireguard", "ppp", "sit",
                                                             "ipip", "gre",       "vti", "xfrm"};
  const auto links = list_links();
  if (!links) return false;
  const auto found = std::ranges::find(*links, interface, &Link::name);
  return found != links->end() && !found->loopback &&
         std::ranges::find(kPointToPoint, found->kind) == kPointToPoint.end();
}

bool leads_somewhere(std::string_view interface) {
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    for (const RouteSpec& route : list_routes(family).value_or(std::vector<RouteSpec>{})) {
      if (route.prefix_length == 0 && route.interface == interface) return true;
    }
  }
  return false;
}

/// rp_filter 1 drops what comes in by another interface than an answer would leave by; the greater
/// one of `all` and the interface's holds (ip-sysctl.rst).
void warn_of_strict_filter(std::string_view interface) {
  std::uint32_t strictness = 0;
  for (const std::string_view who : {std::string_view("all"), interface}) {
    const auto text = read_sysctl(fmt::format("net/ipv4/conf/{}/rp_filter", who));
    if (text) strictness = std::max(strictness, parse_count(*text).value_or(0));
  }
  if (strictness != 1) return;
  const auto usual = default_route_interfaces();
  if (!usual || std::ranges::find(*usual, interface) != usual->end()) return;
  report_warning(fmt::format("the kernel may drop IPv4 answers that come in by {} (rp_filter is 1)",
                             interface),
                 fmt::format("sysctl -w net.ipv4.conf.{}.rp_filter=2", interface));
}

}  // namespace

Result<RouteRequest> parse_route_request(const Options& options) {
  SHUNT_CHECK(check_together(options));
  RouteRequest request;
  request.sockets.interface = options.value("interface");
  const std::string& interface = request.sockets.interface;
  if (!interface.empty()) SHUNT_TRY(link_index(interface));
  request.sockets.mark = SHUNT_TRY(number(options, "mark"));
  request.table = SHUNT_TRY(number(options, "table"));
  const auto own = SHUNT_TRY(list_addresses());
  SHUNT_CHECK(take_sources(options, own, request.sockets));
  SHUNT_CHECK(take_gateways(options, own, request));
  request.resolver_file = SHUNT_TRY(resolver_file(options));
  return request;
}

Result<void> route_by_interface(RouteRequest& request) {
  const std::string& interface = request.sockets.interface;
  if (interface.empty() || !request.gateways.empty()) return {};
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    for (const RouteSpec& route : SHUNT_TRY(list_routes(family, kMainTable))) {
      if (route.prefix_length != 0 || route.interface != interface) continue;
      if (route.gateway) {
        request.gateways.push_back({.address = *route.gateway, .interface = interface});
      } else {
        request.device_routes.push_back(family);
      }
      break;
    }
  }
  if (request.by_rules()) return {};
  if (!needs_gateway(interface)) {
    request.device_routes = {Family::ipv4, Family::ipv6};
    return {};
  }
  return bad_value("interface", interface,
                   fmt::format("no route leads from {} to other networks than its own", interface),
                   "--gateway ADDRESS      (of the router there)");
}

std::string text_of(const RouteRequest& request) {
  std::vector<std::string> parts;
  const SocketRoute& sockets = request.sockets;
  if (!sockets.interface.empty()) parts.push_back("interface " + sockets.interface);
  for (const Gateway& gateway : request.gateways) {
    parts.push_back(fmt::format("gateway {}", gateway.address.text()));
  }
  if (request.table != 0) parts.push_back(fmt::format("table {}", request.table));
  for (const auto& source : {sockets.source_v4, sockets.source_v6}) {
    if (source) parts.push_back(fmt::format("source {}", source->text()));
  }
  if (sockets.mark != 0) parts.push_back(fmt::format("mark {:#x}", sockets.mark));
  return fmt::format("{}", fmt::join(parts, ", "));
}

void warn_of_dead_ends(const RouteRequest& request) {
  const std::string& interface = request.sockets.interface;
  if (!interface.empty()) warn_of_strict_filter(interface);
  for (const Gateway& gateway : request.gateways) {
    if (gateway.address.is_v4() && gateway.interface != interface) {
      warn_of_strict_filter(gateway.interface);
    }
  }
  if (interface.empty() || request.by_rules()) return;
  if (!needs_gateway(interface) || leads_somewhere(interface)) return;
  report_warning(fmt::format("no route leads from {} to other networks than its own", interface),
                 "--gateway ADDRESS      (of the router there; needs root)");
}

}  // namespace shunt::cli
