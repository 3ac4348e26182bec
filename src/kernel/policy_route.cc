// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/policy_route.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "kernel/links.h"
#include "kernel/netlink.h"

namespace shunt {
namespace {

std::uint8_t kernel_family(Family family) { return family == Family::ipv4 ? AF_INET : AF_INET6; }

unsigned char kernel_type(RouteType type) {
  switch (type) {
    case RouteType::local: return RTN_LOCAL;
    case RouteType::broadcast: return RTN_BROADCAST;
    case RouteType::multicast: return RTN_MULTICAST;
    case RouteType::unreachable: return RTN_UNREACHABLE;
    case RouteType::unicast:
    case RouteType::other: return RTN_UNICAST;
  }
  return RTN_UNICAST;
}

RouteType type_of(unsigned char kernel) {
  switch (kernel) {
    case RTN_UNICAST: return RouteType::unicast;
    case RTN_LOCAL: return RouteType::local;
    case RTN_BROADCAST: return RouteType::broadcast;
    case RTN_MULTICAST: return RouteType::multicast;
    case RTN_UNREACHABLE: return RouteType::unreachable;
    default: return RouteType::other;
  }
}

std::string_view type_word(RouteType type) {
  switch (type) {
    case RouteType::local: return "local ";
    case RouteType::broadcast: return "broadcast ";
    case RouteType::multicast: return "multicast ";
    case RouteType::unreachable: return "unreachable ";
    case RouteType::unicast:
    case RouteType::other: return "";
  }
  return "";
}

unsigned char scope_of(const RouteSpec& route) {
  if (route.type == RouteType::local) return RT_SCOPE_HOST;
  if (route.type == RouteType::unreachable || route.gateway) return RT_SCOPE_UNIVERSE;
  return RT_SCOPE_LINK;
}

Result<void> send_route(const RouteSpec& route, std::uint16_t type, std::uint16_t flags) {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkMessage message(type, flags);
  auto& header = message.put_header<rtmsg>();
  header.rtm_family = kernel_family(route.family);
  header.rtm_dst_len = route.prefix_length;
  header.rtm_table = route.table < 256 ? static_cast<unsigned char>(route.table)
                                       : static_cast<unsigned char>(RT_TABLE_UNSPEC);
  header.rtm_protocol = route.protocol;
  header.rtm_type = kernel_type(route.type);
  // For a deletion the kernel takes RT_SCOPE_NOWHERE as any (fib_table_delete()).
  header.rtm_scope = type == RTM_NEWROUTE ? scope_of(route) : RT_SCOPE_NOWHERE;
  message.put_u32(RTA_TABLE, route.table);
  if (route.prefix_length != 0) message.put(RTA_DST, route.destination.bytes());
  if (!route.interface.empty()) {
    message.put_u32(RTA_OIF, SHUNT_TRY(link_index(route.interface)));
  }
  if (route.gateway) message.put(RTA_GATEWAY, route.gateway->bytes());
  if (route.preferred_source) message.put(RTA_PREFSRC, route.preferred_source->bytes());
  if (route.metric != 0) message.put_u32(RTA_PRIORITY, route.metric);
  return socket.request(message, route.text());
}

std::optional<Address> address_of(const nlattr* attribute) {
  if (attribute == nullptr) return std::nullopt;
  const void* bytes = mnl_attr_get_payload(attribute);
  const auto size = mnl_attr_get_payload_len(attribute);
  in6_addr v6{};
  if (size == sizeof v6) {
    std::memcpy(&v6, bytes, sizeof v6);
    return Address(v6);
  }
  in_addr v4{};
  if (size != sizeof v4) return std::nullopt;
  std::memcpy(&v4, bytes, sizeof v4);
  return Address(v4);
}

/// The interface of a route, or of the first hop of a multipath route.
unsigned out_index(const nlattr* oif, const nlattr* multipath) {
  if (oif != nullptr) return mnl_attr_get_u32(oif);
  if (multipath == nullptr || mnl_attr_get_payload_len(multipath) < sizeof(rtnexthop)) return 0;
  return static_cast<unsigned>(
      static_cast<const rtnexthop*>(mnl_attr_get_payload(multipath))->rtnh_ifindex);
}

/// if_indextoname() is a system call or two; routes by the thousand share few interfaces.
class InterfaceNames {
 public:
  const std::string& of(unsigned index) {
    auto [entry, is_new] = names_.try_emplace(index);
    char name[IF_NAMESIZE] = "";
    if (is_new && index != 0 && ::if_indextoname(index, name) != nullptr) entry->second = name;
    return entry->second;
  }

 private:
  std::unordered_map<unsigned, std::string> names_;
};

RouteSpec parse_route(const nlmsghdr& answer, Family family, InterfaceNames& names) {
  const auto& header = *static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer));
  const auto found = netlink_attributes<RTA_TABLE + 1, rtmsg>(answer);
  RouteSpec route{.family = family};
  route.type = type_of(header.rtm_type);
  route.destination = address_of(found[RTA_DST]).value_or(Address::any(family));
  route.prefix_length = header.rtm_dst_len;
  route.table = found[RTA_TABLE] == nullptr ? header.rtm_table : mnl_attr_get_u32(found[RTA_TABLE]);
  route.interface = names.of(out_index(found[RTA_OIF], found[RTA_MULTIPATH]));
  route.gateway = address_of(found[RTA_GATEWAY]);
  route.preferred_source = address_of(found[RTA_PREFSRC]);
  if (found[RTA_PRIORITY] != nullptr) route.metric = mnl_attr_get_u32(found[RTA_PRIORITY]);
  route.protocol = header.rtm_protocol;
  return route;
}

}  // namespace

std::string RouteSpec::text() const {
  std::string line = family == Family::ipv4 ? "ip" : "ip -6";
  line += fmt::format(" route add {}", type_word(type));
  line += prefix_length == 0 ? "default" : fmt::format("{}/{}", destination.text(), prefix_length);
  if (gateway) line += fmt::format(" via {}", gateway->text());
  if (!interface.empty()) line += fmt::format(" dev {}", interface);
  if (preferred_source) line += fmt::format(" src {}", preferred_source->text());
  if (metric != 0) line += fmt::format(" metric {}", metric);
  if (table != RT_TABLE_MAIN) line += fmt::format(" table {}", table);
  return line + fmt::format(" proto {}", protocol);
}

Result<void> add_route(const RouteSpec& route) {
  auto added = send_route(route, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  if (!added && added.error().os_error == EEXIST) return {};
  return added;
}

Result<void> delete_route(const RouteSpec& route) {
  // An interface that is gone has taken its routes along.
  if (!route.interface.empty() && ::if_nametoindex(route.interface.c_str()) == 0) return {};
  auto deleted = send_route(route, RTM_DELROUTE, 0);
  if (!deleted && (deleted.error().os_error == ESRCH || deleted.error().os_error == ENOENT)) {
    return {};
  }
  return deleted;
}

Result<std::vector<RouteSpec>> list_routes(Family family, std::uint32_t table,
                                           std::uint8_t protocol) {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  socket.filter_dumps_in_kernel();
  NetlinkMessage message(RTM_GETROUTE, 0);
  auto& request = message.put_header<rtmsg>();
  request.rtm_family = kernel_family(family);
  request.rtm_protocol = protocol;
  if (table != 0) message.put_u32(RTA_TABLE, table);
  std::vector<RouteSpec> routes;
  InterfaceNames names;
  auto listed = socket.dump(message, "list routes", [&](const nlmsghdr& answer) {
    const auto& header = *static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer));
    if (header.rtm_family != kernel_family(family)) return;
    if ((header.rtm_flags & RTM_F_CLONED) != 0) return;
    auto route = parse_route(answer, family, names);
    if (table != 0 && route.table != table) return;
    if (protocol == 0 || route.protocol == protocol) routes.push_back(std::move(route));
  });
  if (listed) return routes;
  // ENOENT: no route was ever put into that table.
  for (const int harmless : {ENOENT, EAFNOSUPPORT, EOPNOTSUPP}) {
    if (listed.error().os_error == harmless) return routes;
  }
  return Failure(std::move(listed).error());
}

Result<std::vector<std::string>> default_route_interfaces() {
  std::vector<std::string> interfaces;
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    for (const auto& route : SHUNT_TRY(list_routes(family, RT_TABLE_MAIN))) {
      if (route.prefix_length != 0 || route.type != RouteType::unicast) continue;
      if (route.interface.empty() ||
          std::ranges::find(interfaces, route.interface) != interfaces.end())
        continue;
      interfaces.push_back(route.interface);
    }
  }
  return interfaces;
}

Result<bool> has_unicast_route(Family family) {
  for (const auto& route : SHUNT_TRY(list_routes(family))) {
    if (route.type != RouteType::unicast || route.interface == "lo") continue;
    // Every interface that is up has one to fe80::/64: that is no way out.
    if (route.prefix_length != 0 && route.destination.is_link_local()) continue;
    return true;
  }
  return false;
}

}  // namespace shunt
