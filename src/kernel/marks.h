// SPDX-License-Identifier: GPL-2.0-only
// shunt's part of the 32-bit packet mark, and how a part is found that nobody else uses.
//
// Two marks for captured traffic, not one: with net.ipv4.conf.all.src_valid_mark=1 (wg-quick sets
// it) the reverse path lookup carries the packet's mark, finds `local default` and drops the packet
// as martian; a rule for forwarded traffic that is bound to its interface (`iif`), with a mark of
// its own, is not found by that lookup.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/policy_route.h"

namespace shunt {

/// Values of the packet mark for connections that are held until their server has answered
/// (capture/hold.h). All 0 where there is no room for them.
struct HoldMarks {
  std::uint32_t mask = 0;   ///< what tells these values apart
  std::uint32_t held = 0;   ///< is to be captured, and may be waiting; the verdict lets it in
  std::uint32_t own = 0;    ///< Marks::own: what `held` becomes when it is routed to a listener
  std::uint32_t reset = 0;  ///< verdicts: refuse it, with a reset
  std::uint32_t host_unreachable = 0;     ///< or with an ICMP error
  std::uint32_t network_unreachable = 0;  ///< the same
  /// A later segment whose socket was not found, and is to be tried again.
  std::uint32_t missed = 0;
  /// `held + N * worker_unit` leads to the listener of worker N (listeners.h).
  std::uint32_t worker_unit = 0;
  unsigned most_workers = 0;  ///< that can be told apart; 16 in a byte

  [[nodiscard]] bool exist() const { return held != 0; }
  [[nodiscard]] std::uint32_t held_for(unsigned worker) const {
    return held + worker * worker_unit;
  }
  /// nft: "meta mark & 0x0f000000 == 0x08000000".
  [[nodiscard]] std::string match(std::uint32_t value) const;
  bool operator==(const HoldMarks&) const = default;
};

struct Marks {
  std::uint32_t mask = 0;       ///< the bits that are shunt's; all others are left as they are
  std::uint32_t forwarded = 0;  ///< captured while being forwarded; also its connection mark
  std::uint32_t own = 0;        ///< captured while leaving this machine; also its connection mark
  std::uint32_t egress = 0;     ///< on shunt's own sockets: never captured

  // For sockets that bear the client's address (capture/return_path.h); 0 in a mask of two bits.
  /// On such a socket. As a value of `egress` it is never captured either: match() sees both.
  [[nodiscard]] std::uint32_t kept() const { return third_bit() == 0 ? 0 : egress | third_bit(); }
  /// On a packet from elsewhere to such a socket; also the connection mark.
  [[nodiscard]] std::uint32_t reply() const { return third_bit(); }
  /// On a packet of this machine's own to such a socket.
  [[nodiscard]] std::uint32_t own_reply() const {
    return third_bit() == 0 ? 0 : forwarded | third_bit();
  }

  /// For held connections: none in a mask of less than four bits.
  [[nodiscard]] HoldMarks hold() const;

  /// nft: "meta mark & 0xff000000 == 0x01000000"; `what` is "meta" or "ct".
  [[nodiscard]] std::string match(std::uint32_t value, std::string_view what = "meta") const;
  /// nft: "meta mark set meta mark & 0x00ffffff | 0x01000000": keeps the others' bits.
  [[nodiscard]] std::string set(std::uint32_t value, std::string_view what = "meta") const;
  bool operator==(const Marks&) const = default;

 private:
  // `forwarded` is the lowest bit of the mask.
  [[nodiscard]] std::uint32_t third_bit() const { return mask & forwarded << 2; }
};

/// Marks that do not meet `used_bits`. Kind::conflict if no two neighbouring bits are free.
Result<Marks> choose_marks(std::uint32_t used_bits);

/// The marks that choose_marks() makes of `mask`; none if it makes no such mask.
[[nodiscard]] std::optional<Marks> marks_within(std::uint32_t mask);

/// The bits that a match or a change of `value` under `mask` takes. With a full mask that is the
/// value's own bits: who compares the whole mark with 0xca6c (wg-quick) leaves the other bits free.
[[nodiscard]] std::uint32_t bits_taken(std::uint32_t value, std::uint32_t mask);

/// The mark bits that the given ip rules, this network namespace's nftables rules (iptables-nft
/// included) and its legacy iptables rules match or set, on packets or on connections. As far as
/// can be seen: without CAP_NET_ADMIN only the ip rules; never marks that programs put on their own
/// sockets and no rule looks at. Not those of `but_for`, nftables tables of the family inet.
[[nodiscard]] std::uint32_t mark_bits_in_use(const std::vector<RuleSpec>& rules,
                                             std::span<const std::string> but_for = {});

/// The parts of mark_bits_in_use(); 0 where there is nothing or it may not be read (nft_marks.cc,
/// xtables_marks.cc).
[[nodiscard]] std::uint32_t nft_mark_bits(std::span<const std::string> but_for = {});
/// Of one table of the family inet.
[[nodiscard]] std::uint32_t nft_mark_bits_of(std::string_view table);
[[nodiscard]] std::uint32_t legacy_iptables_mark_bits();
/// Of one xtables match or target, by its name and its binary parameters; 0 for other extensions.
[[nodiscard]] std::uint32_t xtables_mark_bits(std::string_view name, std::string_view info);

}  // namespace shunt
