// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/nft_counters.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "kernel/netlink.h"

namespace shunt {
namespace {

std::uint64_t packets_in(const nlattr& data) {
  const nlattr* packets = nested_attributes<NFTA_COUNTER_PACKETS + 1>(data)[NFTA_COUNTER_PACKETS];
  return packets == nullptr ? 0 : be64toh(mnl_attr_get_u64(packets));
}

}  // namespace

Result<std::vector<NftCounter>> list_nft_counters(std::string_view table) {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_NETFILTER));
  NetlinkMessage message((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETOBJ, NLM_F_DUMP);
  message.put_header<nfgenmsg>().nfgen_family = NFPROTO_INET;
  message.put_string(NFTA_OBJ_TABLE, table);
  message.put_u32(NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
  std::vector<NftCounter> counters;
  SHUNT_CHECK(socket.dump(message, "list nftables counters", [&](const nlmsghdr& answer) {
    const auto found = netlink_attributes<NFTA_OBJ_DATA + 1, nfgenmsg>(answer);
    const nlattr* name = found[NFTA_OBJ_NAME];
    const nlattr* data = found[NFTA_OBJ_DATA];
    const nlattr* type = found[NFTA_OBJ_TYPE];
    const nlattr* owner = found[NFTA_OBJ_TABLE];
    if (name == nullptr || data == nullptr || type == nullptr || owner == nullptr) return;
    // The kernel filters by both; who else answers is not trusted to.
    if (ntohl(mnl_attr_get_u32(type)) != NFT_OBJECT_COUNTER) return;
    if (mnl_attr_get_str(owner) != table) return;
    counters.push_back({.name = mnl_attr_get_str(name), .packets = packets_in(*data)});
  }));
  return counters;
}

}  // namespace shunt
