// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cerrno>
#include <string>
#include <vector>

#include "kernel/netlink.h"

namespace shunt {
namespace {

/// What tells an entry from all others, as the kernel listed it.
struct Entry {
  std::uint8_t family = AF_UNSPEC;
  std::string tuple;
  std::string zone;  ///< empty: the default one
  std::string id;
};

std::string payload_of(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  return {static_cast<const char*>(mnl_attr_get_payload(attribute)),
          mnl_attr_get_payload_len(attribute)};
}

bool is_tcp(const nlattr& tuple) {
  const nlattr* protocol = nested_attributes<CTA_TUPLE_PROTO + 1>(tuple)[CTA_TUPLE_PROTO];
  if (protocol == nullptr) return false;
  const nlattr* number = nested_attributes<CTA_PROTO_NUM + 1>(*protocol)[CTA_PROTO_NUM];
  return number != nullptr && mnl_attr_get_u8(number) == IPPROTO_TCP;
}

void put_filter(NetlinkMessage& message, std::uint32_t mark, std::uint32_t mask) {
  message.put_u32(CTA_MARK, htonl(mark));
  message.put_u32(CTA_MARK_MASK, htonl(mask));
}

/// The kernel would take an empty mask for "all".
Result<void> check_mask(std::uint32_t mask) {
  if (mask != 0) return {};
  return Failure(errno_error("forgetting connections without a mask", EINVAL));
}

Result<std::vector<Entry>> entries_but_tcp(NetlinkSocket& socket, std::uint32_t mark,
                                           std::uint32_t mask) {
  NetlinkMessage message((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET, 0);
  message.put_header<nfgenmsg>().nfgen_family = AF_UNSPEC;
  put_filter(message, mark, mask);
  std::vector<Entry> entries;
  SHUNT_CHECK(socket.dump(message, "listing captured connections", [&](const nlmsghdr& answer) {
    const auto found = netlink_attributes<CTA_ZONE + 1, nfgenmsg>(answer);
    if (found[CTA_TUPLE_ORIG] == nullptr || is_tcp(*found[CTA_TUPLE_ORIG])) return;
    const auto& header = *static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(&answer));
    entries.push_back({.family = header.nfgen_family,
                       .tuple = payload_of(found[CTA_TUPLE_ORIG]),
                       .zone = payload_of(found[CTA_ZONE]),
                       .id = payload_of(found[CTA_ID])});
  }));
  return entries;
}

}  // namespace

Result<void> forget_connections(std::uint32_t mark, std::uint32_t mask) {
  SHUNT_CHECK(check_mask(mask));
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  NetlinkMessage message((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE,
                         NLM_F_REQUEST | NLM_F_ACK);
  // Without a tuple and with the mark, DELETE is a flush by filter (ctnetlink_flush_conntrack());
  // version 0 makes it both families.
  auto& header = message.put_header<nfgenmsg>();
  header.nfgen_family = AF_UNSPEC;
  header.version = NFNETLINK_V0;
  put_filter(message, mark, mask);
  return socket.request(message, "forgetting captured connections");
}

// A flush by filter that looks at the protocol too is only in kernels of 2024 and later.
Result<void> forget_but_tcp(std::uint32_t mark, std::uint32_t mask) {
  SHUNT_CHECK(check_mask(mask));
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  for (const Entry& entry : SHUNT_TRY(entries_but_tcp(socket, mark, mask))) {
    NetlinkMessage message((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST);
    message.put_header<nfgenmsg>().nfgen_family = entry.family;
    message.put(CTA_TUPLE_ORIG | NLA_F_NESTED, entry.tuple);
    if (!entry.zone.empty()) message.put(CTA_ZONE, entry.zone);
    message.put(CTA_ID, entry.id);
    const auto forgotten = socket.request(message, "forgetting a captured connection");
    if (!forgotten && forgotten.error().os_error != ENOENT) return forgotten;
  }
  return {};
}

}  // namespace shunt
