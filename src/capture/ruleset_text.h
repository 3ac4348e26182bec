// SPDX-License-Identifier: GPL-2.0-only
// What the nftables texts of TPROXY, REDIRECT and the closed table have in common. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "capture/capture_spec.h"

namespace shunt {

/// A new TCP connection. Nothing else starts a capture: a connection that was there before shunt
/// is in the middle, and would be reset by a proxy that knows nothing of it (tried).
inline constexpr std::string_view kTcpSyn = "tcp flags & (fin | syn | rst | ack) == syn";

/// The chains that decide about new flows, and about every datagram (TPROXY only). To empty them
/// lets new flows and datagrams pass by while captured connections go on: how an orderly stop
/// begins.
inline constexpr std::string_view kNewForwarded = "new_forwarded";
inline constexpr std::string_view kTakeUntracked = "take_untracked";  ///< with notrack
inline constexpr std::string_view kNewOwn = "new_own";
inline constexpr std::string_view kDatagramForwarded = "datagram_forwarded";
inline constexpr std::string_view kDatagramOwn = "datagram_own";

/// One chain, a statement a line. `hook` is empty for a chain that others go to.
std::string nft_chain(std::string_view name, std::string_view hook,
                      const std::vector<std::string>& statements);

/// "{ \"br-lan\", \"eth1\" }".
std::string interface_set(const std::vector<std::string>& interfaces);

/// What hands datagrams of each client socket to one listener, on 127.0.0.1 or [::1] and a port
/// from `port` on; `then` is said behind tproxy. jhash is the kernel's (Linux 4.9, nft_hash).
std::vector<std::string> udp_shares(Family family, std::uint16_t port, unsigned listeners,
                                    std::string_view then);
/// Whether the kernel takes that for several listeners. Needs CAP_NET_ADMIN.
[[nodiscard]] bool shares_udp();

/// Everything that a new forwarded flow is let go for: never captured by design, excluded by the
/// user, or sent direct by a rule. What comes behind these statements captures.
std::vector<std::string> forwarded_let_go(const CaptureSpec& spec);
std::vector<std::string> own_let_go(const CaptureSpec& spec);

/// The counter of rule N is named by this and N.
inline constexpr std::string_view kRuleCounter = "rule_";

/// The chains that the statements above jump to for CaptureSpec::kernel_rules, and the counters of
/// those that leave: "rule_3" counts flows. Where conntrack is told not to look (notrack), it
/// counts nothing. Empty without such rules.
std::string kernel_rule_chains(const CaptureSpec& spec);

/// Empty without CaptureSpec::masquerade.
std::string masquerade_chain(const CaptureSpec& spec);

}  // namespace shunt
