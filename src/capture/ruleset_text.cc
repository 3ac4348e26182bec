// SPDX-License-Identifier: GPL-2.0-only
#include "capture/ruleset_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernel/nft.h"

namespace shunt {
namespace {

/// `fib` asks the routing table, so addresses that come and go need no update. Link-local ranges
/// are named: to the routing table they are like any other. DHCP speaks from and to addresses that
/// are not yet there.
void add_never_captured(std::vector<std::string>& out, std::string_view address_types) {
  out.push_back(fmt::format("fib daddr type {} return", address_types));
  out.emplace_back("ip daddr 169.254.0.0/16 return");
  out.emplace_back("ip6 daddr fe80::/10 return");
  out.emplace_back("udp dport { 67, 68, 546, 547 } return");
}

void add_exclusions(std::vector<std::string>& out, const std::vector<std::string>& matches) {
  for (const std::string& match : matches) out.push_back(match + " return");
}

constexpr std::string_view kForwardedRules = "rules_forwarded";
constexpr std::string_view kOwnRules = "rules_own";

using Matches = std::vector<std::string> Exclusion::*;

std::string leaving_chain(const KernelDecision& rule) {
  return fmt::format("leave_by_rule_{}", rule.rule);
}

/// A jump is what tells the two ends apart: `return` leads back to the chain that captures,
/// `accept` ends the walk through this hook of ours (others' chains see the packet all the same).
/// Empty where nothing leaves.
std::vector<std::string> kernel_rule_statements(const CaptureSpec& spec, Matches matches) {
  std::vector<std::string> out;
  bool leaves = false;
  for (const KernelDecision& rule : spec.kernel_rules) {
    for (const std::string& match : rule.match.*matches) {
      const std::string end = rule.leave ? fmt::format("goto {}", leaving_chain(rule)) : "return";
      out.push_back(fmt::format("{} {}", match, end));
      leaves = leaves || rule.leave;
    }
  }
  if (!leaves) out.clear();
  return out;
}

void add_kernel_rules(std::vector<std::string>& out, const CaptureSpec& spec, Matches matches,
                      std::string_view chain) {
  if (!kernel_rule_statements(spec, matches).empty()) out.push_back(fmt::format("jump {}", chain));
}

}  // namespace

std::string nft_chain(std::string_view name, std::string_view hook,
                      const std::vector<std::string>& statements) {
  std::string text = fmt::format("  chain {} {{\n", name);
  if (!hook.empty()) text += fmt::format("    type {}; policy accept;\n", hook);
  for (const std::string& statement : statements) text += fmt::format("    {}\n", statement);
  return text + "  }\n";
}

std::string interface_set(const std::vector<std::string>& interfaces) {
  return fmt::format("{{ \"{}\" }}", fmt::join(interfaces, "\", \""));
}

std::vector<std::string> udp_shares(Family family, std::uint16_t port, unsigned listeners,
                                    std::string_view then) {
  const bool v4 = family == Family::ipv4;
  const std::string_view ip = v4 ? "ip" : "ip6";
  const std::string_view host = v4 ? "127.0.0.1" : "[::1]";
  std::vector<std::string> out;
  for (unsigned i = 0; i < listeners; ++i) {
    // Which worker has a client is no secret and no attack: a fixed seed.
    const std::string share =
        listeners == 1
            ? std::string()
            : fmt::format("jhash {} saddr . udp sport mod {} seed 0x5348 {} ", ip, listeners, i);
    out.push_back(fmt::format("meta l4proto udp {}tproxy {} to {}:{} {}accept", share, ip, host,
                              port + i, then));
  }
  return out;
}

bool shares_udp() {
  const auto shares = udp_shares(Family::ipv4, 1, 2, "");
  const std::string body = nft_chain("probe", "filter hook prerouting priority mangle", shares);
  return nft_check(nft_table_text("probe_jhash", body, TableLifetime::owned)).has_value();
}

std::vector<std::string> forwarded_let_go(const CaptureSpec& spec) {
  std::vector<std::string> out;
  add_never_captured(out, "{ local, broadcast, multicast, anycast }");
  out.push_back(fmt::format("fib daddr oifname {} return", interface_set(spec.interfaces)));
  for (const Exclusion& exclusion : spec.exclusions) add_exclusions(out, exclusion.forwarded);
  add_kernel_rules(out, spec, &Exclusion::forwarded, kForwardedRules);
  return out;
}

std::vector<std::string> own_let_go(const CaptureSpec& spec) {
  std::vector<std::string> out;
  const bool all_local_go = !spec.loopback && !spec.own_dns;
  add_never_captured(out, all_local_go ? "{ local, broadcast, multicast, anycast }"
                                       : "{ broadcast, multicast, anycast }");
  if (spec.own_dns && !spec.loopback) {
    out.emplace_back("fib daddr type local th dport != 53 return");
    out.emplace_back("fib daddr type local ip daddr != 127.0.0.0/8 return");
    out.emplace_back("fib daddr type local ip6 daddr != ::1 return");
  }
  for (const Exclusion& exclusion : spec.exclusions) add_exclusions(out, exclusion.own);
  add_kernel_rules(out, spec, &Exclusion::own, kOwnRules);
  return out;
}

std::string kernel_rule_chains(const CaptureSpec& spec) {
  const auto forwarded = kernel_rule_statements(spec, &Exclusion::forwarded);
  const auto own = kernel_rule_statements(spec, &Exclusion::own);
  std::string text;
  for (const KernelDecision& rule : spec.kernel_rules) {
    if (!rule.leave) continue;
    text += fmt::format("  counter {}{} {{\n  }}\n", kRuleCounter, rule.rule);
    // Flows are counted, not packets: those of a flow whose first packet was let out are confirmed,
    // also while nobody has answered (datagrams, a SYN that is sent again).
    text += nft_chain(
        leaving_chain(rule), "",
        {fmt::format("ct status & confirmed == 0 counter name \"{}{}\"", kRuleCounter, rule.rule),
         "accept"});
  }
  if (!forwarded.empty()) text += nft_chain(kForwardedRules, "", forwarded);
  if (!own.empty()) text += nft_chain(kOwnRules, "", own);
  return text;
}

std::string masquerade_chain(const CaptureSpec& spec) {
  if (!spec.masquerade || spec.interfaces.empty()) return {};
  const std::string lan = interface_set(spec.interfaces);
  const std::string leaving = fmt::format("iifname {} oifname != {}", lan, lan);
  return nft_chain(
      "postrouting", "nat hook postrouting priority srcnat",
      {fmt::format("{} ip saddr {{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 }} masquerade",
                   leaving),
       fmt::format("{} ip6 saddr fc00::/7 masquerade", leaving)});
}

}  // namespace shunt
