// SPDX-License-Identifier: GPL-2.0-only
// Which bits of packet and connection marks the loaded nftables rules look at or change.
//
// A rule is a list of expressions that work on registers: `meta mark & 0xff == 2` is meta (load the
// mark into a register), bitwise (mask and xor it), cmp. `meta mark set 1` is immediate (a constant
// into a register) and meta (store). So following what each register holds through one rule tells
// the bits. The rules come by netlink, not as text: the text of a large ruleset (Kubernetes) takes
// libnftables seconds.
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "kernel/capabilities.h"
#include "kernel/marks.h"
#include "kernel/netlink.h"

namespace shunt {
namespace {

constexpr std::uint32_t kAllBits = 0xffff'ffff;

struct Register {
  enum class Holds : std::uint8_t { unknown, mark, constant } holds = Holds::unknown;
  std::uint32_t value = 0;  ///< the constant, or the bits of the mark that were kept
  bool swapped = false;     ///< a mark in network order, as ranges are compared
};

std::uint32_t number(const nlattr* attribute) {
  return attribute == nullptr ? 0 : ntohl(mnl_attr_get_u32(attribute));
}

/// The four bytes of NFTA_DATA_VALUE, in host order as registers hold marks; none if not four.
std::optional<std::uint32_t> constant(const nlattr* data) {
  if (data == nullptr) return std::nullopt;
  const nlattr* value = nested_attributes<NFTA_DATA_VALUE + 1>(*data)[NFTA_DATA_VALUE];
  std::uint32_t bits = 0;
  if (value == nullptr || mnl_attr_get_payload_len(value) != sizeof bits) return std::nullopt;
  std::memcpy(&bits, mnl_attr_get_payload(value), sizeof bits);
  return bits;
}

class RuleReader {
 public:
  void read(std::string_view name, const nlattr& data) {
    if (name == "meta") return load_or_store(nested_attributes<8>(data), kMeta);
    if (name == "ct") return load_or_store(nested_attributes<8>(data), kConnection);
    if (name == "bitwise") return bitwise(nested_attributes<NFTA_BITWISE_XOR + 1>(data));
    if (name == "byteorder") return swap(nested_attributes<NFTA_BYTEORDER_DREG + 1>(data));
    if (name == "cmp") return compare(nested_attributes<NFTA_CMP_DATA + 1>(data));
    if (name == "range") return range(nested_attributes<NFTA_RANGE_TO_DATA + 1>(data));
    if (name == "lookup") return lookup(nested_attributes<NFTA_LOOKUP_SREG + 1>(data));
    if (name == "immediate") return immediate(nested_attributes<NFTA_IMMEDIATE_DATA + 1>(data));
    // xtables extensions of iptables-nft; match and target share their attribute numbers.
    if (name == "match" || name == "target") xtables(nested_attributes<NFTA_MATCH_INFO + 1>(data));
  }
  [[nodiscard]] std::uint32_t bits() const { return bits_; }

 private:
  struct Layout {
    unsigned destination, key, source, mark_key;
  };
  static constexpr Layout kMeta{NFTA_META_DREG, NFTA_META_KEY, NFTA_META_SREG, NFT_META_MARK};
  static constexpr Layout kConnection{NFTA_CT_DREG, NFTA_CT_KEY, NFTA_CT_SREG, NFT_CT_MARK};

  /// Four 16-byte registers (1 to 4) overlay sixteen 4-byte ones (8 to 23): nf_tables.h.
  Register& at(const nlattr* attribute) {
    const std::uint32_t index = number(attribute);
    const std::uint32_t slot = index >= NFT_REG32_00 ? index - NFT_REG32_00 : (index - 1) * 4;
    return registers_[slot < registers_.size() ? slot : 0];
  }

  void load_or_store(const NetlinkAttributes<8>& found, const Layout& layout) {
    const bool is_mark = number(found[layout.key]) == layout.mark_key;
    if (found[layout.destination] != nullptr) {
      at(found[layout.destination]) =
          is_mark ? Register{Register::Holds::mark, kAllBits, false} : Register{};
    } else if (found[layout.source] != nullptr && is_mark) {
      const Register& source = at(found[layout.source]);
      if (source.holds == Register::Holds::constant) bits_ |= source.value;
      if (source.holds == Register::Holds::mark) bits_ |= ~source.value;  // what it clears
    }
  }

  void bitwise(const NetlinkAttributes<NFTA_BITWISE_XOR + 1>& found) {
    const Register source = at(found[NFTA_BITWISE_SREG]);
    Register& destination = at(found[NFTA_BITWISE_DREG]);
    destination = Register{};
    const auto mask = constant(found[NFTA_BITWISE_MASK]);
    const auto flipped = constant(found[NFTA_BITWISE_XOR]);
    if (source.holds != Register::Holds::mark || !mask || !flipped) return;
    if (*flipped != 0) bits_ |= ~*mask | *flipped;
    destination = Register{Register::Holds::mark, source.value & *mask, source.swapped};
  }

  void swap(const NetlinkAttributes<NFTA_BYTEORDER_DREG + 1>& found) {
    const Register source = at(found[NFTA_BYTEORDER_SREG]);
    at(found[NFTA_BYTEORDER_DREG]) = {source.holds, source.value, !source.swapped};
  }

  void looked_at(const nlattr* source, std::uint32_t value) {
    const Register& read = at(source);
    if (read.holds != Register::Holds::mark) return;
    bits_ |= bits_taken(read.swapped ? ntohl(value) : value, read.value);
  }
  void compare(const NetlinkAttributes<NFTA_CMP_DATA + 1>& found) {
    looked_at(found[NFTA_CMP_SREG], constant(found[NFTA_CMP_DATA]).value_or(0));
  }
  void range(const NetlinkAttributes<NFTA_RANGE_TO_DATA + 1>& found) {
    looked_at(found[NFTA_RANGE_SREG], constant(found[NFTA_RANGE_FROM_DATA]).value_or(0) |
                                          constant(found[NFTA_RANGE_TO_DATA]).value_or(0));
  }
  /// The values stand in a set; the mask, if there is one, says enough.
  void lookup(const NetlinkAttributes<NFTA_LOOKUP_SREG + 1>& found) {
    looked_at(found[NFTA_LOOKUP_SREG], 0);
  }
  void immediate(const NetlinkAttributes<NFTA_IMMEDIATE_DATA + 1>& found) {
    const auto value = constant(found[NFTA_IMMEDIATE_DATA]);
    if (number(found[NFTA_IMMEDIATE_DREG]) == NFT_REG_VERDICT) return;
    at(found[NFTA_IMMEDIATE_DREG]) =
        value ? Register{Register::Holds::constant, *value, false} : Register{};
  }
  void xtables(const NetlinkAttributes<NFTA_MATCH_INFO + 1>& found) {
    const nlattr* info = found[NFTA_MATCH_INFO];
    if (found[NFTA_MATCH_NAME] == nullptr || info == nullptr) return;
    bits_ |= xtables_mark_bits(
        mnl_attr_get_str(found[NFTA_MATCH_NAME]),
        {static_cast<const char*>(mnl_attr_get_payload(info)), mnl_attr_get_payload_len(info)});
  }

  std::array<Register, 16> registers_{};
  std::uint32_t bits_ = 0;
};

std::uint32_t bits_of_rule(const nlattr& expressions) {
  RuleReader reader;
  for_each_nested(expressions, [&](const nlattr& element) {
    const auto found = nested_attributes<NFTA_EXPR_DATA + 1>(element);
    if (found[NFTA_EXPR_NAME] == nullptr || found[NFTA_EXPR_DATA] == nullptr) return;
    reader.read(mnl_attr_get_str(found[NFTA_EXPR_NAME]), *found[NFTA_EXPR_DATA]);
  });
  return reader.bits();
}

/// Of the rules whose table `counts(family, name)`.
template <class Counts>
std::uint32_t bits_of_tables(Counts counts) {
  if (!has_capability(CAP_NET_ADMIN)) return 0;
  auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!socket) return 0;
  NetlinkMessage message((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETRULE, 0);
  message.put_header<nfgenmsg>().nfgen_family = NFPROTO_UNSPEC;
  std::uint32_t bits = 0;
  // What was read before a failure still counts.
  static_cast<void>(socket->dump(message, "list nftables rules", [&](const nlmsghdr& answer) {
    const auto found = netlink_attributes<NFTA_RULE_EXPRESSIONS + 1, nfgenmsg>(answer);
    if (found[NFTA_RULE_EXPRESSIONS] == nullptr || found[NFTA_RULE_TABLE] == nullptr) return;
    const auto& header = *static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(&answer));
    if (counts(header.nfgen_family, mnl_attr_get_str(found[NFTA_RULE_TABLE]))) {
      bits |= bits_of_rule(*found[NFTA_RULE_EXPRESSIONS]);
    }
  }));
  return bits;
}

}  // namespace

std::uint32_t nft_mark_bits(std::span<const std::string> but_for) {
  return bits_of_tables([&](std::uint8_t family, std::string_view table) {
    return family != NFPROTO_INET || std::ranges::find(but_for, table) == but_for.end();
  });
}

std::uint32_t nft_mark_bits_of(std::string_view table) {
  return bits_of_tables([&](std::uint8_t family, std::string_view name) {
    return family == NFPROTO_INET && name == table;
  });
}

}  // namespace shunt
