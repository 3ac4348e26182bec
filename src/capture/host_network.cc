// SPDX-License-Identifier: GPL-2.0-only
#include "capture/host_network.h"

#include <algorithm>

#include "kernel/links.h"
#include "kernel/policy_route.h"
#include "kernel/text_file.h"
#include "net/socket.h"

namespace shunt {
namespace {

// Addresses that are certainly out in the world: a.root-servers.net. Nothing is sent to them.
constexpr std::string_view kFarIpv4 = "198.41.0.4";
constexpr std::string_view kFarIpv6 = "2001:503:ba3e::2:30";
// For a namespace whose host has no address of its own to lend: RFC 7335, the host's side of an
// IPv4 that exists only inside.
constexpr std::string_view kOwnIpv4 = "192.0.0.2";
// A host with more than this and no default route reaches all the world in all but name; and the
// record that tells the holder of them has to fit into one message.
constexpr std::size_t kMaxRoutes = 32;

// connect() of a datagram socket is a route lookup that honours every rule, and tells the source
// address; getaddrinfo() finds out in the same way.
std::optional<Address> source_towards(const Address& far) {
  const auto fd = make_socket(far.family(), SocketType::datagram);
  if (!fd) return std::nullopt;
  const SocketAddress address(Endpoint{.address = far, .port = 9});
  if (::connect(fd->get(), address.get(), address.size()) != 0) return std::nullopt;
  const auto local = local_endpoint(fd->get());
  const bool usable = local && !local->address.is_loopback() && !local->address.is_any() &&
                      !local->address.is_link_local();
  if (!usable) return std::nullopt;
  return local->address;
}

bool leads_out(const RouteSpec& route) {
  return route.type == RouteType::unicast && route.interface != "lo" &&
         !route.destination.is_link_local() && !route.destination.is_multicast();
}

std::optional<Address> some_address(Family family) {
  const auto addresses = list_addresses();
  if (!addresses) return std::nullopt;
  for (const auto& entry : *addresses) {
    const auto& address = entry.address;
    if (address.family() == family && !address.is_loopback() && !address.is_link_local()) {
      return address;
    }
  }
  return std::nullopt;
}

HostFamily without_default_route(Family family) {
  HostFamily seen;
  const auto routes = list_routes(family);
  if (!routes) return seen;
  for (const auto& route : *routes) {
    if (leads_out(route)) seen.routes.push_back({route.destination, route.prefix_length});
  }
  std::ranges::sort(seen.routes);
  const auto repeated = std::ranges::unique(seen.routes);
  seen.routes.erase(repeated.begin(), repeated.end());
  if (seen.routes.size() > kMaxRoutes) seen.routes = {{Address::any(family), 0}};
  if (!seen.routes.empty()) seen.source = some_address(family);
  if (!seen.source) seen.routes.clear();
  return seen;
}

HostFamily look_at(Family family, std::string_view far) {
  const auto address = Address::parse(far);
  const auto source = address ? source_towards(*address) : std::nullopt;
  if (!source) return without_default_route(family);
  return {.source = source, .routes = {{.address = Address::any(family), .prefix_length = 0}}};
}

std::string_view next_word(std::string_view& line) {
  constexpr std::string_view kBlank = " \t\r";
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  const auto word = line.substr(0, line.find_first_of(kBlank));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace

HostNetwork look_at_host(bool through_proxy) {
  HostNetwork host{.ipv4 = look_at(Family::ipv4, kFarIpv4),
                   .ipv6 = look_at(Family::ipv6, kFarIpv6)};
  if (through_proxy) {
    if (!host.ipv4.source) host.ipv4.source = Address::parse(kOwnIpv4);
    host.ipv4.routes = {{.address = Address::any(Family::ipv4), .prefix_length = 0}};
  }
  return host;
}

std::vector<Address> loopback_name_servers(std::string_view resolv_conf) {
  std::vector<Address> found;
  bool any = false;
  while (!resolv_conf.empty()) {
    auto line = resolv_conf.substr(0, resolv_conf.find('\n'));
    resolv_conf.remove_prefix(std::min(line.size() + 1, resolv_conf.size()));
    if (next_word(line) != "nameserver") continue;
    const auto word = next_word(line);
    const auto address = Address::parse(word.substr(0, word.find('%')));
    if (!address) continue;
    any = true;
    const bool known = std::ranges::find(found, *address) != found.end();
    if (address->is_loopback() && !known) found.push_back(*address);
  }
  if (!any) found = {Address::loopback(Family::ipv4), Address::loopback(Family::ipv6)};
  return found;
}

std::vector<Address> loopback_name_servers() {
  return loopback_name_servers(read_text_file("/etc/resolv.conf").value_or(""));
}

}  // namespace shunt
