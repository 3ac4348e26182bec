// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>

#include "kernel/netlink.h"

namespace shunt {

Result<void> forget_connections(std::uint32_t mark, std::uint32_t mask) {
  // The kernel would take an empty mask for "all".
  if (mask == 0) return Failure(errno_error("forgetting connections without a mask", EINVAL));
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  NetlinkMessage message((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE,
                         NLM_F_REQUEST | NLM_F_ACK);
  // Without a tuple and with the mark, DELETE is a flush by filter (ctnetlink_flush_conntrack());
  // version 0 makes it both families.
  auto& header = message.put_header<nfgenmsg>();
  header.nfgen_family = AF_UNSPEC;
  header.version = NFNETLINK_V0;
  message.put_u32(CTA_MARK, htonl(mark));
  message.put_u32(CTA_MARK_MASK, htonl(mask));
  return socket.request(message, "forgetting captured connections");
}

}  // namespace shunt
