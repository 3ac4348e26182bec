// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/network_towards.h"

#include <linux/rtnetlink.h>

#include <cstdint>

#include "kernel/netlink.h"

namespace shunt {

// RTM_F_FIB_MATCH (Linux 4.13): the entry of the table that matched, and not the route to the
// address that was made of it, whose prefix is the whole address.
Network network_towards(const Address& address) {
  const auto bits = static_cast<std::uint8_t>(address.bytes().size() * 8);
  const Network alone = Network::of(address, bits);
  auto socket = NetlinkSocket::open(NETLINK_ROUTE);
  if (!socket) return alone;
  NetlinkMessage message(RTM_GETROUTE, 0);
  auto& route = message.put_header<rtmsg>();
  route.rtm_family = address.is_v4() ? AF_INET : AF_INET6;
  route.rtm_dst_len = bits;
  route.rtm_flags = RTM_F_FIB_MATCH;
  message.put(RTA_DST, address.bytes());
  std::uint8_t prefix = 0;
  const auto asked = socket->request(message, "look up a route", [&](const nlmsghdr& answer) {
    if (answer.nlmsg_type != RTM_NEWROUTE) return;
    const auto& found = *static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer));
    if (found.rtm_type == RTN_UNICAST) prefix = found.rtm_dst_len;
  });
  return asked && prefix != 0 ? Network::of(address, prefix) : alone;
}

}  // namespace shunt
