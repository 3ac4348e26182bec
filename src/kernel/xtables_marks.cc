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
  Info info{};
  std::memcpy(&info, bytes.data(), sizeof info);
  return info;
}

/// What differs between the two families; getsockopt(2)'s requests and their answers are alike.
struct Tables {
  int domain;
  int level;
  const char* names;  ///< the tables in use, one a line
  std::size_t entry_bytes;
  std::size_t next_offset;  ///< where an entry says how long it is
  std::size_t target_offset;
};
constexpr Tables kIpv4 = {AF_INET,
                          IPPROTO_IP,
                          "/proc/thread-self/net/ip_tables_names",
                          sizeof(ipt_entry),
                          offsetof(ipt_entry, next_offset),
                          offsetof(ipt_entry, target_offset)};
constexpr Tables kIpv6 = {AF_INET6,
                          IPPROTO_IPV6,
                          "/proc/thread-self/net/ip6_tables_names",
                          sizeof(ip6t_entry),
                          offsetof(ip6t_entry, next_offset),
                          offsetof(ip6t_entry, target_offset)};
// NOLINTBEGIN(misc-redundant-expression): that is what they assert
static_assert(IPT_SO_GET_INFO == IP6T_SO_GET_INFO && sizeof(ipt_getinfo) == sizeof(ip6t_getinfo));
static_assert(IPT_SO_GET_ENTRIES == IP6T_SO_GET_ENTRIES &&
              offsetof(ipt_get_entries, entrytable) == offsetof(ip6t_get_entries, entrytable));
// NOLINTEND(misc-redundant-expression)

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

std::uint32_t bits_of_rules(std::string_view rules, const Tables& tables) {
  std::uint32_t bits = 0;
  while (!rules.empty()) {
    const std::size_t next = offset_field(rules, tables.next_offset);
    if (next < tables.entry_bytes || next > rules.size()) break;
    bits |= rule_bits(rules.substr(0, next), tables.entry_bytes,
                      offset_field(rules, tables.target_offset));
    rules.remove_prefix(next);
  }
  return bits;
}

std::uint32_t table_bits(int socket, const std::string& name, const Tables& tables) {
  ipt_getinfo info{};
  name.copy(info.name, sizeof info.name - 1);
  socklen_t size = sizeof info;
  if (::getsockopt(socket, tables.level, IPT_SO_GET_INFO, &info, &size) != 0) return 0;
  std::vector<char> buffer(sizeof(ipt_get_entries) + info.size);
  name.copy(buffer.data(), sizeof info.name - 1);
  std::memcpy(buffer.data() + offsetof(ipt_get_entries, size), &info.size, sizeof info.size);
  size = static_cast<socklen_t>(buffer.size());
  // EAGAIN: the table changed between the two calls; then what it uses now stays unseen.
  if (::getsockopt(socket, tables.level, IPT_SO_GET_ENTRIES, buffer.data(), &size) != 0) return 0;
  return bits_of_rules({buffer.data() + offsetof(ipt_get_entries, entrytable), info.size}, tables);
}

std::uint32_t family_bits(const Tables& tables) {
  const auto names = read_text_file(tables.names);
  if (!names || names->empty()) return 0;
  const UniqueFd socket(::socket(tables.domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket.valid()) return 0;
  std::istringstream lines(*names);
  std::uint32_t bits = 0;
  for (std::string name; std::getline(lines, name);) bits |= table_bits(socket.get(), name, tables);
  return bits;
}

template <class Info>
std::uint32_t field_bits(std::string_view bytes, std::uint32_t Info::* value,
                         std::uint32_t Info::* mask) {
  const auto info = as<Info>(bytes);
  return info ? bits_taken((*info).*value, (*info).*mask) : 0;
}

}  // namespace

std::uint32_t xtables_mark_bits(std::string_view name, std::string_view info) {
  if (name == "mark") return field_bits(info, &xt_mark_mtinfo1::mark, &xt_mark_mtinfo1::mask);
  if (name == "MARK") return field_bits(info, &xt_mark_tginfo2::mark, &xt_mark_tginfo2::mask);
  if (name == "connmark") {
    return field_bits(info, &xt_connmark_mtinfo1::mark, &xt_connmark_mtinfo1::mask);
  }
  if (name == "CONNMARK") {
    return field_bits(info, &xt_connmark_tginfo1::ctmark, &xt_connmark_tginfo1::ctmask);
  }
  return 0;
}

std::uint32_t legacy_iptables_mark_bits() { return family_bits(kIpv4) | family_bits(kIpv6); }

}  // namespace shunt
