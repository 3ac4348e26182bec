// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/local_destination.h"

#include <linux/rtnetlink.h>

#include <cerrno>

#include "kernel/netlink.h"

namespace shunt {
namespace {

bool is_own_type(unsigned char type) {
  return type == RTN_LOCAL || type == RTN_BROADCAST || type == RTN_ANYCAST;
}

}  // namespace

bool ends_on_this_machine(const Address& address) {
  if (address.is_any() || address.is_loopback()) return true;
  auto socket = NetlinkSocket::open(NETLINK_ROUTE);
  if (!socket) return true;
  NetlinkMessage message(RTM_GETROUTE, 0);
  auto& route = message.put_header<rtmsg>();
  route.rtm_family = address.is_v4() ? AF_INET : AF_INET6;
  route.rtm_dst_len = static_cast<unsigned char>(address.bytes().size() * 8);
  message.put(RTA_DST, address.bytes());
  bool own = false;
  const auto asked = socket->request(message, "look up a route", [&own](const nlmsghdr& answer) {
    if (answer.nlmsg_type != RTM_NEWROUTE) return;
    own = is_own_type(static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer))->rtm_type);
  });
  if (asked) return own;
  // Without a route there is nothing to reach, and connect() will say so.
  return asked.error().os_error != ENETUNREACH && asked.error().os_error != EHOSTUNREACH;
}

}  // namespace shunt
