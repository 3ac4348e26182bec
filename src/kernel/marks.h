// SPDX-License-Identifier: GPL-2.0-only
// shunt's part of the 32-bit packet mark, and how a part is found that nobody else uses.
//
// Two marks for captured traffic, not one: with net.ipv4.conf.all.src_valid_mark=1 (wg-quick sets
// it) the reverse path lookup carries the packet's mark, finds `local default` and drops the packet
// as martian; a rule for forwarded traffic that is bound to its interface (`iif`), with a mark of
// its own, is not found by that lookup.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace shunt {

struct Marks {
  std::uint32_t mask = 0;       ///< the bits that are shunt's; all others are left as they are
  std::uint32_t forwarded = 0;  ///< captured while being forwarded; also its connection mark
  std::uint32_t own = 0;        ///< captured while leaving this machine; also its connection mark
  std::uint32_t egress = 0;     ///< on shunt's own sockets: never captured

  /// nft: "meta mark & 0xff000000 == 0x01000000"; `what` is "meta" or "ct".
  [[nodiscard]] std::string match(std::uint32_t value, std::string_view what = "meta") const;
  /// nft: "meta mark set meta mark & 0x00ffffff | 0x01000000": keeps the others' bits.
  [[nodiscard]] std::string set(std::uint32_t value, std::string_view what = "meta") const;
  bool operator==(const Marks&) const = default;
};

/// Marks that do not meet `used_bits`. Kind::conflict if no two
/// bits are free.
Result<Marks> choose_marks(std::uint32_t used_bits);

/// The mark bits that ip rules, nftables rules (iptables-nft included) and legacy iptables rules of
/// this network namespace match or set, except those of rules tagged as shunt's. As far as can be
/// seen: without CAP_NET_ADMIN only the ip rules; never marks that programs put on their own
/// sockets and no rule looks at.
std::uint32_t mark_bits_in_use();

}  // namespace shunt
