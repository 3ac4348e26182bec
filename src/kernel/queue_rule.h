// SPDX-License-Identifier: GPL-2.0-only
// A rule that queues what it meets, at the end of a chain of a table that somebody owns.
//
// nft's own `queue` needs CONFIG_NFT_QUEUE. Where that is missing the target of iptables does the
// same (CONFIG_NETFILTER_XT_TARGET_NFQUEUE with CONFIG_NFT_COMPAT), but nft has no text for it: the
// rule is sent as netlink attributes over the owner's socket. `nft list` shows either as `queue`.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kernel/nft.h"

namespace shunt {

/// Queues `first` to `first + count - 1`, one for each connection by its hash; a packet whose queue
/// nobody reads passes.
struct QueueRule {
  std::uint16_t first = 0;
  std::uint16_t count = 1;
};

/// nft: "queue num 0-1 bypass".
[[nodiscard]] std::string queue_statement(const QueueRule& rule);

struct ChainQueueRule {
  std::string chain;
  QueueRule rule;
};
/// Appends the target of iptables to chains of a table of the inet family, to all or none. Waits
/// for the kernel's answer, 5 s at most. Kind::unsupported where the kernel has none.
Result<void> append_queue_targets(NftContext& owner, std::string_view table,
                                  std::span<const ChainQueueRule> rules);

}  // namespace shunt
