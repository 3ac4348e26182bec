// SPDX-License-Identifier: GPL-2.0-only
#include "capture/namespace_rules.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "capture/ruleset_text.h"

namespace shunt {
namespace {

std::string_view selector(const Address& address) {
  return address.is_v4() ? "ip daddr" : "ip6 daddr";
}

std::string to_own_addresses(const NamespaceRules& rules, std::string_view verdict) {
  std::string text = fmt::format("    ip daddr 127.0.0.0/8 {0}\n    ip6 daddr ::1 {0}\n", verdict);
  for (const auto& address : rules.own_addresses) {
    text += fmt::format("    {} {} {}\n", selector(address), address.text(), verdict);
  }
  return text;
}

std::string lines(const std::vector<std::string>& statements) {
  std::string text;
  for (const std::string& statement : statements) text += fmt::format("    {}\n", statement);
  return text;
}

std::string hold_chains(const NamespaceRules& rules) {
  const HoldMarks& marks = rules.hold->marks;
  std::string text = hold::chains(*rules.hold);
  text += fmt::format(R"(  chain hold_new {{
    type filter hook output priority mangle; policy accept;
    meta mark {:#x} accept
    tcp flags & (fin | syn | rst | ack) != syn accept
    meta l4proto != tcp accept
{}    goto {}
  }}
)",
                      rules.mark, to_own_addresses(rules, "accept"), hold::kHold);
  text += fmt::format(R"(  chain refuse_held {{
    type filter hook output priority mangle + 1; policy accept;
{}  }}
)",
                      lines(hold::refusals(marks)));
  const std::string to_socket = lines(hold::to_socket(rules.ipv6, ""));
  // What finds no socket twice is for the kernel to answer: with a reset.
  return text + fmt::format(R"(  chain later {{
{}{}    {}
    jump {}
    accept
  }}
  chain again {{
{}    accept
  }}
)",
                            to_own_addresses(rules, "accept"), to_socket,
                            hold::set_mark(marks, marks.missed), hold::kRequeue, to_socket);
}

std::string capture_chain(const NamespaceRules& rules) {
  std::string again;
  if (rules.hold) {
    again = fmt::format("    {} goto again\n", rules.hold->marks.match(rules.hold->marks.missed));
  }
  std::string text = fmt::format(R"(  chain capture {{
    type filter hook prerouting priority mangle; policy accept;
    meta mark {:#x} accept
{}    meta l4proto != {{ tcp, udp }} accept
    tcp flags & (fin | syn | rst | ack) != syn {}
    ip daddr 127.0.0.0/8 goto loopback
    ip6 daddr ::1 goto loopback
)",
                                 rules.mark, again, rules.hold ? "goto later" : "accept");
  for (const auto& address : rules.own_addresses) {
    text += fmt::format("    {} {} goto inside_first\n", selector(address), address.text());
  }
  text += "    goto to_shunt\n  }\n";
  return text;
}

std::string loopback_chain(const NamespaceRules& rules) {
  std::string text = "  chain loopback {\n";
  if (rules.localhost_is_host) {
    text += "    goto inside_first\n";
  } else {
    for (const auto& server : rules.name_servers) {
      text +=
          fmt::format("    {} {} th dport 53 goto inside_first\n", selector(server), server.text());
    }
    text += "    accept\n";
  }
  return text + "  }\n";
}

// A reply socket of shunt's own that is bound to the address is not a program inside.
std::string inside_first_chain(const NamespaceRules& rules) {
  return fmt::format(R"(  chain inside_first {{
    socket mark {:#x} goto to_shunt
    socket wildcard {{ 0, 1 }} accept
    goto to_shunt
  }}
)",
                     rules.mark);
}

std::string to_shunt_chain(const NamespaceRules& rules) {
  std::string text = fmt::format(R"(  chain to_shunt {{
    meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:{0} accept
)",
                                 rules.listen_port);
  if (rules.ipv6) {
    text += fmt::format("    meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:{} accept\n",
                        rules.listen_port);
  }
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    if (family == Family::ipv6 && !rules.ipv6) continue;
    const std::string_view only = family == Family::ipv4 ? "ipv4" : "ipv6";
    for (const std::string& share :
         udp_shares(family, rules.listen_port, rules.udp_listeners, "")) {
      text += fmt::format("    meta nfproto {} {}\n", only, share);
    }
  }
  // Nobody listens any more, as after shunt's death: say so, and let nobody inside answer instead.
  return text + "    meta l4proto tcp reject with tcp reset\n    reject\n  }\n";
}

// Output hook: the sender is told at once (EPERM, or the ICMP error).
std::string refuse_chain(const NamespaceRules& rules) {
  std::string own;
  for (const auto& address : rules.own_addresses) {
    own += fmt::format("    {} {} accept\n", selector(address), address.text());
  }
  return fmt::format(R"(  chain refuse {{
    type filter hook output priority filter; policy accept;
    meta mark {0:#x} accept
    ip daddr 127.0.0.1 tcp dport {1} reject with tcp reset
    ip6 daddr ::1 tcp dport {1} reject with tcp reset
    ip daddr 127.0.0.1 udp dport {1}-{3} reject
    ip6 daddr ::1 udp dport {1}-{3} reject
    ip daddr {{ 224.0.0.0/4, 255.255.255.255 }} drop
    ip6 daddr ff00::/8 drop
    meta l4proto {{ tcp, udp }} accept
    ip daddr 127.0.0.0/8 accept
    ip6 daddr ::1 accept
{2}    icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
    icmpv6 type 1-4 accept
    reject with icmpx admin-prohibited
  }}
)",
                     rules.mark, rules.listen_port, own,
                     rules.listen_port + rules.udp_listeners - 1);
}

}  // namespace

std::string namespace_rules_text(const NamespaceRules& rules) {
  return "table inet shunt {\n" + (rules.hold ? hold_chains(rules) : std::string()) +
         capture_chain(rules) + loopback_chain(rules) + inside_first_chain(rules) +
         to_shunt_chain(rules) + refuse_chain(rules) + "}\n";
}

}  // namespace shunt
