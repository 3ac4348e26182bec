// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <utility>

#include "kernel/netlink.h"
#include "kernel/policy_route.h"

namespace shunt {
namespace {

std::uint8_t kernel_family(Family family) { return family == Family::ipv4 ? AF_INET : AF_INET6; }

std::string_view ip_command(Family family) { return family == Family::ipv4 ? "ip" : "ip -6"; }

std::uint32_t u32_or(const nlattr* attribute, std::uint32_t otherwise) {
  return attribute == nullptr ? otherwise : mnl_attr_get_u32(attribute);
}

/// A table number beyond the header's eight bits goes into an attribute (RTA_TABLE, FRA_TABLE).
std::uint8_t header_table(std::uint32_t table) {
  return table < 256 ? static_cast<std::uint8_t>(table) : std::uint8_t{RT_TABLE_UNSPEC};
}

std::uint8_t kernel_action(RuleAction action) {
  switch (action) {
    case RuleAction::jump: return FR_ACT_GOTO;
    case RuleAction::nothing: return FR_ACT_NOP;
    case RuleAction::unreachable: return FR_ACT_UNREACHABLE;
    case RuleAction::lookup:
    case RuleAction::other: return FR_ACT_TO_TBL;
  }
  return FR_ACT_TO_TBL;
}

RuleAction action_of(std::uint8_t kernel) {
  switch (kernel) {
    case FR_ACT_TO_TBL: return RuleAction::lookup;
    case FR_ACT_GOTO: return RuleAction::jump;
    case FR_ACT_NOP: return RuleAction::nothing;
    case FR_ACT_UNREACHABLE: return RuleAction::unreachable;
    default: return RuleAction::other;
  }
}

/// "lookup 100", "goto 102": as ip-rule(8) has it.
std::string action_text(const RuleSpec& rule) {
  switch (rule.action) {
    case RuleAction::jump: return fmt::format("goto {}", rule.jump_to);
    case RuleAction::nothing: return "nop";
    case RuleAction::unreachable: return "unreachable";
    case RuleAction::lookup:
    case RuleAction::other: return fmt::format("lookup {}", rule.table);
  }
  return {};
}

/// The kernel, or this boot of it, has no IPv6.
bool is_family_missing(const Error& error) {
  return error.os_error == EAFNOSUPPORT || error.os_error == EOPNOTSUPP;
}

Result<void> send_rule(const RuleSpec& rule, std::uint16_t type, std::uint16_t flags) {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkMessage message(type, flags);
  auto& header = message.put_header<fib_rule_hdr>();
  header.family = kernel_family(rule.family);
  header.table = header_table(rule.table);
  header.action = kernel_action(rule.action);
  message.put_u32(FRA_PRIORITY, rule.priority);
  if (rule.action == RuleAction::lookup) message.put_u32(FRA_TABLE, rule.table);
  if (rule.action == RuleAction::jump) message.put_u32(FRA_GOTO, rule.jump_to);
  if (rule.mask != 0) {
    message.put_u32(FRA_FWMARK, rule.mark);
    message.put_u32(FRA_FWMASK, rule.mask);
  }
  if (!rule.in_interface.empty()) message.put_string(FRA_IIFNAME, rule.in_interface);
  message.put_u8(FRA_PROTOCOL, rule.protocol);
  return socket.request(message, rule.text());
}

RuleSpec parse_rule(const nlmsghdr& answer, Family family) {
  const auto& header = *static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(&answer));
  const auto found = netlink_attributes<FRA_PROTOCOL + 1, fib_rule_hdr>(answer);
  RuleSpec rule{.family = family};
  rule.priority = u32_or(found[FRA_PRIORITY], 0);
  rule.mark = u32_or(found[FRA_FWMARK], 0);
  rule.mask = u32_or(found[FRA_FWMASK], 0);
  rule.action = action_of(header.action);
  rule.table = rule.action == RuleAction::lookup ? u32_or(found[FRA_TABLE], header.table) : 0;
  rule.jump_to = rule.action == RuleAction::jump ? u32_or(found[FRA_GOTO], 0) : 0;
  if (found[FRA_IIFNAME] != nullptr) rule.in_interface = mnl_attr_get_str(found[FRA_IIFNAME]);
  rule.protocol =
      found[FRA_PROTOCOL] == nullptr ? std::uint8_t{0} : mnl_attr_get_u8(found[FRA_PROTOCOL]);
  return rule;
}

}  // namespace

std::string RuleSpec::text() const {
  std::string line = fmt::format("{} rule add pref {}", ip_command(family), priority);
  if (mask != 0) line += fmt::format(" fwmark {:#x}/{:#x}", mark, mask);
  if (!in_interface.empty()) line += fmt::format(" iif {}", in_interface);
  return line + fmt::format(" {} protocol {}", action_text(*this), protocol);
}

Result<void> add_rule(const RuleSpec& rule) {
  return send_rule(rule, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
}

Result<void> delete_rule(const RuleSpec& rule) {
  auto deleted = send_rule(rule, RTM_DELRULE, 0);
  if (!deleted && (deleted.error().os_error == ENOENT || is_family_missing(deleted.error()))) {
    return {};
  }
  return deleted;
}

Result<std::vector<RuleSpec>> list_rules(Family family) {
  auto socket = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  NetlinkMessage message(RTM_GETRULE, 0);
  message.put_header<fib_rule_hdr>().family = kernel_family(family);
  std::vector<RuleSpec> rules;
  auto listed = socket.dump(message, "list ip rules", [&](const nlmsghdr& answer) {
    const auto& header = *static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(&answer));
    // A family the kernel does not know is answered with the rules of all (rtnetlink_rcv_msg()).
    if (header.family != kernel_family(family)) return;
    rules.push_back(parse_rule(answer, family));
  });
  if (!listed && !is_family_missing(listed.error())) return Failure(std::move(listed).error());
  return rules;
}

}  // namespace shunt
