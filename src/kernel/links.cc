// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/links.h"

#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>

#include "kernel/netlink.h"

namespace shunt {
namespace {

std::string kind_of(const nlattr* link_info) {
  if (link_info == nullptr) return {};
  const auto found = nested_attributes<IFLA_INFO_KIND + 1>(*link_info);
  return found[IFLA_INFO_KIND] == nullptr ? "" : mnl_attr_get_str(found[IFLA_INFO_KIND]);
}

std::optional<Address> address_of(const nlattr& attribute) {
  const void* bytes = mnl_attr_get_payload(&attribute);
  switch (mnl_attr_get_payload_len(&attribute)) {
    case sizeof(in_addr): {
      in_addr v4{};
      std::memcpy(&v4, bytes, sizeof v4);
      return Address(v4);
    }
    case sizeof(in6_addr): {
      in6_addr v6{};
      std::memcpy(&v6, bytes, sizeof v6);
      return Address(v6);
    }
    default: return std::nullopt;
  }
}

}  // namespace

Result<std::vector<Link>> list_links() {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkMessage message(RTM_GETLINK, 0);
  message.put_header<ifinfomsg>().ifi_family = AF_UNSPEC;
  std::vector<Link> links;
  SHUNT_CHECK(socket.dump(message, "list interfaces", [&](const nlmsghdr& answer) {
    const auto& info = *static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&answer));
    const auto found = netlink_attributes<IFLA_LINKINFO + 1, ifinfomsg>(answer);
    if (found[IFLA_IFNAME] == nullptr) return;
    links.push_back({.index = static_cast<unsigned>(info.ifi_index),
                     .name = mnl_attr_get_str(found[IFLA_IFNAME]),
                     .kind = kind_of(found[IFLA_LINKINFO]),
                     .up = (info.ifi_flags & IFF_UP) != 0,
                     .loopback = (info.ifi_flags & IFF_LOOPBACK) != 0});
  }));
  return links;
}

Result<std::vector<InterfaceAddress>> list_addresses() {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkMessage message(RTM_GETADDR, 0);
  message.put_header<ifaddrmsg>().ifa_family = AF_UNSPEC;
  std::vector<InterfaceAddress> addresses;
  SHUNT_CHECK(socket.dump(message, "list addresses", [&](const nlmsghdr& answer) {
    const auto& info = *static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&answer));
    const auto found = netlink_attributes<IFA_LOCAL + 1, ifaddrmsg>(answer);
    // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours (linux/if_addr.h).
    const nlattr* ours = found[IFA_LOCAL] != nullptr ? found[IFA_LOCAL] : found[IFA_ADDRESS];
    if (ours == nullptr) return;
    const auto address = address_of(*ours);
    if (!address) return;
    char name[IF_NAMESIZE] = "";
    ::if_indextoname(info.ifa_index, name);
    addresses.push_back({.index = info.ifa_index,
                         .interface = name,
                         .address = *address,
                         .prefix_length = info.ifa_prefixlen});
  }));
  return addresses;
}

Result<unsigned> link_index(std::string_view name) {
  const unsigned index = ::if_nametoindex(std::string(name).c_str());
  if (index != 0) return index;
  return Failure(make_error(Kind::configuration, fmt::format("there is no interface \"{}\"", name),
                            "ip link lists them"));
}

Result<void> set_link_up(std::string_view name, bool up) {
  const unsigned index = SHUNT_TRY(link_index(name));
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkMessage message(RTM_NEWLINK, 0);
  auto& info = message.put_header<ifinfomsg>();
  info.ifi_index = static_cast<int>(index);
  info.ifi_flags = up ? IFF_UP : 0;
  info.ifi_change = IFF_UP;
  return socket.request(message, fmt::format("ip link set {} {}", name, up ? "up" : "down"));
}

Result<void> add_address(std::string_view interface, const Address& address,
                         std::uint8_t prefix_length) {
  const unsigned index = SHUNT_TRY(link_index(interface));
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  auto& info = message.put_header<ifaddrmsg>();
  info.ifa_family = address.is_v4() ? AF_INET : AF_INET6;
  info.ifa_prefixlen = prefix_length;
  info.ifa_flags = address.is_v4() ? 0 : IFA_F_NODAD;
  info.ifa_index = index;
  message.put(IFA_LOCAL, address.bytes());
  message.put(IFA_ADDRESS, address.bytes());
  auto added = socket.request(
      message, fmt::format("ip addr add {}/{} dev {}", address.text(), prefix_length, interface));
  if (!added && added.error().os_error == EEXIST) return {};
  return added;
}

Result<void> disable_address_generation(std::string_view interface) {
  const unsigned index = SHUNT_TRY(link_index(interface));
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkMessage message(RTM_NEWLINK, 0);
  message.put_header<ifinfomsg>().ifi_index = static_cast<int>(index);
  nlattr* families = message.open_nest(IFLA_AF_SPEC);
  nlattr* ipv6 = message.open_nest(AF_INET6);
  message.put_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  message.close_nest(ipv6);
  message.close_nest(families);
  auto done = socket.request(message, fmt::format("ip link set {} addrgenmode none", interface));
  // A kernel without IPv6 generates no addresses.
  if (!done && (done.error().os_error == EAFNOSUPPORT || done.error().os_error == EOPNOTSUPP)) {
    return {};
  }
  return done;
}

}  // namespace shunt
