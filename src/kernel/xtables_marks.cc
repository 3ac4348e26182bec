// SPDX-License-Identifier: GPL-2.0-only
// Which mark bits xtables extensions use: of iptables-nft they arrive through nft_marks.cc, of
// legacy iptables they are read here, with the getsockopt(2) that iptables itself uses. That call
// would load the iptables modules, so the tables are asked only when /proc/net names them.
#include <arpa/inet.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstring>
#include <optional>
#include <sstream>
#include <vector>

#include "kernel/marks.h"
#include "kernel/text_file.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

/// The info as the struct of the extension's revision; none if it is too short to be one.
template <class Info>
std::optional<Info> as(std::string_view bytes) {
  if (bytes.size() < sizeof(Info)) return std::nullopt;
  Info info;
  std::memcpy(&info, bytes.data(), sizeof info);
  return info;
}

struct Ipv4Tables {
  using Entry = ipt_entry;
  using Info = ipt_getinfo;
  using Entries = ipt_get_entries;
  static constexpr int kDomain = AF_INET;
  static constexpr int kLevel = IPPROTO_IP;
  static constexpr int kGetInfo = IPT_SO_GET_INFO;
  static constexpr int kGetEntries = IPT_SO_GET_ENTRIES;
  static constexpr const char* kNames = "/proc/thread-self/net/ip_tables_names";
};

struct Ipv6Tables {
  using Entry = ip6t_entry;
  using Info = ip6t_getinfo;
  using Entries = ip6t_get_entries;
  static constexpr int kDomain = AF_INET6;
  static constexpr int kLevel = IPPROTO_IPV6;
  static constexpr int kGetInfo = IP6T_SO_GET_INFO;
  static constexpr int kGetEntries = IP6T_SO_GET_ENTRIES;
  static constexpr const char* kNames = "/proc/thread-self/net/ip6_tables_names";
};

/// Matches and targets begin alike: xt_entry_match, xt_entry_target. Those end in a flexible array,
/// which C++ containers do not take.
struct ExtensionHead {
  std::uint16_t size;
  char name[XT_EXTENSION_MAXNAMELEN];
  std::uint8_t revision;
};
static_assert(sizeof(ExtensionHead) == sizeof(xt_entry_match));
static_assert(sizeof(ExtensionHead) == sizeof(xt_entry_target));

/// Two bytes of a rule's head; 0 beyond its end.
std::size_t offset_field(std::string_view rule, std::size_t at) {
  return at < rule.size() ? as<std::uint16_t>(rule.substr(at)).value_or(0) : 0;
}

/// The extension at the beginning of `bytes`; raises `bits`. Yields its size, 0 if it is none.
std::size_t read_extension(std::string_view bytes, std::uint32_t& bits) {
  const auto head = as<ExtensionHead>(bytes);
  if (!head || head->size < sizeof *head || head->size > bytes.size()) return 0;
  bits |= xtables_mark_bits({head->name, ::strnlen(head->name, sizeof head->name)},
                            bytes.substr(sizeof *head, head->size - sizeof *head));
  return head->size;
}

/// Matches up to the target, then the target.
std::uint32_t rule_bits(std::string_view rule, std::size_t matches, std::size_t target) {
  std::uint32_t bits = 0;
  if (target > rule.size()) return bits;
  while (matches < target) {
    const std::size_t size = read_extension(rule.substr(matches, target - matches), bits);
    if (size == 0) break;
    matches += size;
  }
  static_cast<void>(read_extension(rule.substr(target), bits));
  return bits;
}

template <class Tables>
std::uint32_t table_bits(int socket, const std::string& table) {
  using Entry = typename Tables::Entry;
  using Entries = typename Tables::Entries;
  typename Tables::Info info{};
  table.copy(info.name, sizeof info.name - 1);
  socklen_t size = sizeof info;
  if (::getsockopt(socket, Tables::kLevel, Tables::kGetInfo, &info, &size) != 0) return 0;
  std::vector<char> buffer(sizeof(Entries) + info.size);
  table.copy(buffer.data(), sizeof info.name - 1);
  std::memcpy(buffer.data() + offsetof(Entries, size), &info.size, sizeof info.size);
  size = static_cast<socklen_t>(buffer.size());
  // EAGAIN: the table changed between the two calls; then what it uses now stays unseen.
  if (::getsockopt(socket, Tables::kLevel, Tables::kGetEntries, buffer.data(), &size) != 0) {
    return 0;
  }
  std::string_view rules(buffer.data() + offsetof(Entries, entrytable), info.size);
  std::uint32_t bits = 0;
  while (!rules.empty()) {
    const std::size_t next = offset_field(rules, offsetof(Entry, next_offset));
    if (next < sizeof(Entry) || next > rules.size()) break;
    bits |= rule_bits(rules.substr(0, next), sizeof(Entry),
                      offset_field(rules, offsetof(Entry, target_offset)));
    rules.remove_prefix(next);
  }
  return bits;
}

template <class Tables>
std::uint32_t family_bits() {
  const auto names = read_text_file(Tables::kNames);
  if (!names || names->empty()) return 0;
  const UniqueFd socket(::socket(Tables::kDomain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket.valid()) return 0;
  std::istringstream lines(*names);
  std::uint32_t bits = 0;
  for (std::string table; std::getline(lines, table);) {
    bits |= table_bits<Tables>(socket.get(), table);
  }
  return bits;
}

}  // namespace

std::uint32_t xtables_mark_bits(std::string_view name, std::string_view info) {
  if (name == "mark") {
    const auto match = as<xt_mark_mtinfo1>(info);
    return match ? bits_taken(match->mark, match->mask) : 0;
  }
  if (name == "connmark") {
    const auto match = as<xt_connmark_mtinfo1>(info);
    return match ? bits_taken(match->mark, match->mask) : 0;
  }
  if (name == "MARK") {
    const auto target = as<xt_mark_tginfo2>(info);
    return target ? bits_taken(target->mark, target->mask) : 0;
  }
  if (name == "CONNMARK") {
    const auto target = as<xt_connmark_tginfo1>(info);
    return target ? bits_taken(target->ctmark, target->ctmask) : 0;
  }
  return 0;
}

std::uint32_t legacy_iptables_mark_bits() {
  return family_bits<Ipv4Tables>() | family_bits<Ipv6Tables>();
}

}  // namespace shunt
