// SPDX-License-Identifier: GPL-2.0-only
#include "capture/tproxy.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "capture/ruleset_text.h"

namespace shunt::tproxy {
namespace {

constexpr std::string_view kTcpAndErrors = "meta l4proto { tcp, icmp, icmpv6 }";

/// A SYN that was held bears the number of its worker as well.
std::string match_own(const CaptureSpec& spec) {
  return spec.hold ? spec.hold->marks.match(spec.marks.own) : spec.marks.match(spec.marks.own);
}

/// Hands a packet to the listener. Where there is none, tproxy ends the rule before `then`: the
/// packet goes on unmarked instead of being routed to nobody.
std::vector<std::string> to_listener(const CaptureSpec& spec, std::string_view then) {
  const std::string_view together = spec.udp_listeners == 1 ? "{ tcp, udp }" : "tcp";
  std::vector<std::string> out{
      fmt::format("meta l4proto {} tproxy ip to 127.0.0.1:{} {}accept", together, spec.port, then)};
  if (spec.ipv6) {
    out.push_back(
        fmt::format("meta l4proto {} tproxy ip6 to [::1]:{} {}accept", together, spec.port, then));
  }
  if (spec.udp_listeners == 1) return out;
  for (const Family family : spec.families()) {
    const auto shares = udp_shares(family, spec.port, spec.udp_listeners, then);
    out.insert(out.end(), shares.begin(), shares.end());
  }
  return out;
}

std::string captured(const CaptureSpec& spec, std::uint32_t mark) {
  return fmt::format("{} ct direction original", spec.marks.match(mark, "ct"));
}

/// Where new connections are held: the decision to capture, one priority or more before the chains
/// that take them, since a queue's verdict lets a packet go on behind the base chain.
constexpr std::string_view kHoldForwarded = "filter hook prerouting priority mangle - 10";
constexpr std::string_view kHoldOwn = "filter hook output priority mangle - 10";

/// The end of a chain that has decided to capture a SYN. Where conntrack knows the connection, it
/// was let in already, and the SYN is sent again for want of an answer.
void hold_new(std::vector<std::string>& decide, const HoldMarks& marks) {
  decide.push_back(hold::set_mark(marks, marks.held));
  decide.emplace_back("ct state != { new, untracked } accept");
  decide.push_back(fmt::format("goto {}", hold::kHold));
}

/// A TCP segment that is not the first: to its socket, or if that was not found a second time too,
/// to the listener, which knows SYN cookies and resets what is dead.
std::vector<std::string> to_socket_or_again(const CaptureSpec& spec, std::uint32_t mark,
                                            std::string_view listener) {
  auto out = hold::to_socket(spec.ipv6, spec.marks.set(mark) + " ");
  out.push_back(fmt::format("meta l4proto tcp {}",
                            hold::set_mark(spec.hold->marks, spec.hold->marks.missed)));
  out.push_back(fmt::format("meta l4proto tcp jump {}", hold::kRequeue));
  out.push_back(fmt::format("meta l4proto tcp {}", spec.marks.set(mark)));
  out.push_back(fmt::format("goto {}", listener));
  return out;
}

/// How later packets of captured connections are known: by the connection's mark, and where that
/// is lost by their socket. The mark is set in a rule of its own, which a packet that somebody else
/// does not let be tracked leaves at that point.
std::vector<std::string> known_forwarded(const CaptureSpec& spec, std::string_view then) {
  const Marks& marks = spec.marks;
  return {fmt::format("{} {} {}", kTcpAndErrors, captured(spec, marks.forwarded), then),
          fmt::format("meta l4proto tcp socket transparent 1 {}", marks.set(marks.forwarded, "ct")),
          fmt::format("{} socket transparent 1 {}", kTcpAndErrors, then)};
}

std::string held_forwarded_chains(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  const HoldMarks& hold = spec.hold->marks;
  std::string text = nft_chain("hold_forwarded", kHoldForwarded,
                               {fmt::format("iifname {} {} goto {}", interface_set(spec.interfaces),
                                            kTcpSyn, kNewForwarded)});
  std::vector<std::string> forwarded{fmt::format("{} goto arrived_forwarded", kTcpSyn),
                                     fmt::format("meta l4proto udp goto {}", kDatagramForwarded)};
  std::ranges::move(known_forwarded(spec, "goto later_forwarded"), std::back_inserter(forwarded));
  text += nft_chain("forwarded", "", forwarded);
  auto arrived = hold::refusals(hold);
  arrived.push_back(fmt::format("{} goto take_forwarded", hold.match(hold.held)));
  text += nft_chain("arrived_forwarded", "", arrived);
  text +=
      nft_chain("later_forwarded", "", to_socket_or_again(spec, marks.forwarded, "take_forwarded"));
  auto again = hold::to_socket(spec.ipv6, marks.set(marks.forwarded) + " ");
  again.emplace_back("goto take_forwarded");
  return text + nft_chain("again_forwarded", "", again);
}

/// Of TCP, before conntrack sees it: clients' connections, and those of shunt itself beyond. A SYN
/// is judged first (forwarded_chains()); nobody remembers what was captured whose socket is gone,
/// so all that may be captured goes to the listener then.
std::string untracked_chains(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  const std::string lan = interface_set(spec.interfaces);
  std::string text =
      nft_chain("untracked", "filter hook prerouting priority raw",
                {fmt::format("iifname {} meta l4proto tcp goto untracked_forwarded", lan),
                 fmt::format("meta l4proto tcp {} notrack", marks.match(marks.egress, "socket"))});
  text +=
      nft_chain("untracked_forwarded", "",
                {fmt::format("{} goto {}", kTcpSyn, kTakeUntracked),
                 fmt::format("socket transparent 1 {} notrack accept", marks.set(marks.forwarded)),
                 fmt::format("goto {}", kTakeUntracked)});
  auto decide = forwarded_let_go(spec);
  decide.emplace_back("notrack");
  decide.emplace_back("goto take_forwarded");
  text += nft_chain(kTakeUntracked, "", decide);
  return text +
         nft_chain("untracked_out", "filter hook output priority raw",
                   {fmt::format("{} meta l4proto tcp notrack accept", marks.match(marks.egress)),
                    fmt::format("oifname {} meta l4proto tcp socket transparent 1 notrack", lan)});
}

std::string forwarded_chains(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  auto decide = forwarded_let_go(spec);
  // To another client's mapping: the rules are for what lies beyond this machine.
  decide.insert(decide.begin(),
                fmt::format("meta l4proto udp fib daddr type local {} {} goto take_forwarded",
                            marks.match(marks.egress, "socket"), marks.set(marks.forwarded, "ct")));
  // Answers to a made-up source would reach somebody who did not ask (RFC 2827).
  decide.emplace_back("meta l4proto udp fib saddr . iif oif missing drop");
  decide.push_back(marks.set(marks.forwarded, "ct"));
  auto take = to_listener(spec, marks.set(marks.forwarded) + " ");
  take.push_back(
      fmt::format("meta l4proto {{ icmp, icmpv6 }} {} accept", marks.set(marks.forwarded)));
  std::string datagrams =
      nft_chain(kDatagramForwarded, "",
                {fmt::format("{} goto take_forwarded", marks.match(marks.forwarded, "ct")),
                 fmt::format("ct state {{ new, untracked }} goto {}", kNewForwarded)});
  if (spec.hold) {
    decide.emplace_back("meta l4proto udp goto take_forwarded");
    hold_new(decide, spec.hold->marks);
    return nft_chain("take_forwarded", "", take) + nft_chain(kNewForwarded, "", decide) +
           datagrams + held_forwarded_chains(spec);
  }
  // A SYN is judged first: where its connection's last life is still in TIME_WAIT, only tproxy
  // hands it to the listener (nf_tproxy_handle_time_wait4()).
  std::vector<std::string> forwarded;
  if (spec.notrack) {
    forwarded.push_back(fmt::format("meta l4proto tcp {} accept", marks.match(marks.forwarded)));
  }
  forwarded.push_back(fmt::format("{} goto {}", kTcpSyn, kNewForwarded));
  forwarded.push_back(fmt::format("meta l4proto udp goto {}", kDatagramForwarded));
  std::ranges::move(known_forwarded(spec, "goto take_forwarded"), std::back_inserter(forwarded));
  std::string text = nft_chain("forwarded", "", forwarded) + datagrams;
  decide.emplace_back("goto take_forwarded");
  text += nft_chain(kNewForwarded, "", decide);
  text += nft_chain("take_forwarded", "", take);
  return spec.notrack ? text + untracked_chains(spec) : text;
}

std::string held_own_chains(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  const HoldMarks& hold = spec.hold->marks;
  std::string text = nft_chain("hold_own", kHoldOwn,
                               {fmt::format("{} return", marks.match(marks.egress)),
                                fmt::format("{} goto {}", kTcpSyn, kNewOwn)});
  // In a chain of its own priority: one of the type `route` looks whether it changed the mark
  // itself before it has a packet routed again.
  text += nft_chain(
      "output", "route hook output priority mangle",
      {fmt::format("{} return", marks.match(marks.egress)),
       fmt::format("{} goto arrived_own", kTcpSyn),
       fmt::format("meta l4proto udp goto {}", kDatagramOwn),
       fmt::format("{} {} {}", kTcpAndErrors, captured(spec, marks.own), marks.set(marks.own))});
  auto arrived = hold::refusals(hold);
  arrived.push_back(
      fmt::format("{} {}", hold.match(hold.held), hold::set_mark(hold, marks.own, true)));
  text += nft_chain("arrived_own", "", arrived);
  text += nft_chain("take_own", "", to_listener(spec, ""));
  std::vector<std::string> arrives{fmt::format("{} goto take_own", kTcpSyn),
                                   "meta l4proto udp goto take_own"};
  std::ranges::move(to_socket_or_again(spec, marks.own, "take_own"), std::back_inserter(arrives));
  text += nft_chain("own_arrives", "", arrives);
  auto again = hold::to_socket(spec.ipv6, marks.set(marks.own) + " ");
  again.push_back(marks.set(marks.own));
  again.emplace_back("goto take_own");
  return text + nft_chain("again_own", "", again);
}

std::string own_chains(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  auto decide = own_let_go(spec);
  decide.push_back(marks.set(marks.own, "ct"));
  const std::string datagrams =
      nft_chain(kDatagramOwn, "",
                {fmt::format("{} {} return", marks.match(marks.own, "ct"), marks.set(marks.own)),
                 fmt::format("ct state new goto {}", kNewOwn)});
  if (spec.hold) {
    decide.push_back(fmt::format("meta l4proto udp {} return", marks.set(marks.own)));
    hold_new(decide, spec.hold->marks);
    return nft_chain(kNewOwn, "", decide) + datagrams + held_own_chains(spec);
  }
  std::string text = nft_chain(
      "output", "route hook output priority mangle",
      {fmt::format("{} return", marks.match(marks.egress)),
       fmt::format("{} goto {}", kTcpSyn, kNewOwn),
       fmt::format("meta l4proto udp goto {}", kDatagramOwn),
       fmt::format("{} {} {}", kTcpAndErrors, captured(spec, marks.own), marks.set(marks.own))});
  text += datagrams;
  decide.push_back(marks.set(marks.own));
  text += nft_chain(kNewOwn, "", decide);
  return text + nft_chain("own_arrives", "", to_listener(spec, ""));
}

/// A datagram of ours to a client that conntrack takes for the first of a connection: a peer wrote
/// first, or the client's entry has timed out. The client's own are then its replies.
std::string reply_chain(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  std::vector<std::string> ours{
      fmt::format("meta l4proto udp ct state new meta mark & {:#010x} == {:#010x} "
                  "fib saddr type != local",
                  marks.mask, marks.egress)};
  if (marks.kept() != 0) {  // from another client's mapping: ReplySockets::hairpin_mark()
    ours.push_back(fmt::format("meta l4proto udp ct state new {} fib saddr type local",
                               marks.match(marks.kept())));
  }
  std::vector<std::string> statements;
  for (const std::string& reply : ours) {
    if (!spec.interfaces.empty()) {
      statements.push_back(
          fmt::format("{} fib daddr type != local {}", reply, marks.set(marks.forwarded, "ct")));
    }
    if (spec.host) {
      statements.push_back(
          fmt::format("{} fib daddr type local {}", reply, marks.set(marks.own, "ct")));
    }
  }
  return nft_chain("replies", "filter hook output priority mangle - 2", statements);
}

std::string closed_forwarded(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  std::string text =
      nft_chain("prerouting", "filter hook prerouting priority mangle + 1",
                {fmt::format("iifname {} meta mark & {:#010x} != {:#010x} goto forwarded",
                             interface_set(spec.interfaces), marks.mask, marks.forwarded)});
  text += nft_chain(
      "forwarded", "",
      {fmt::format("{} goto {}", kTcpSyn, kNewForwarded),
       fmt::format("meta l4proto tcp {} reject with tcp reset", captured(spec, marks.forwarded)),
       fmt::format("meta l4proto udp {} drop", marks.match(marks.forwarded, "ct")),
       fmt::format("meta l4proto udp ct state {{ new, untracked }} goto {}", kNewForwarded)});
  auto decide = forwarded_let_go(spec);
  decide.emplace_back("drop");
  return text + nft_chain(kNewForwarded, "", decide);
}

std::string closed_own(const CaptureSpec& spec) {
  const Marks& marks = spec.marks;
  std::string text = nft_chain(
      "output", "filter hook output priority mangle + 1",
      {fmt::format("{} return", marks.match(marks.egress)),
       fmt::format("{} return", match_own(spec)), fmt::format("{} goto {}", kTcpSyn, kNewOwn),
       fmt::format("meta l4proto tcp {} reject with tcp reset", captured(spec, marks.own)),
       fmt::format("meta l4proto udp {} drop", marks.match(marks.own, "ct")),
       fmt::format("meta l4proto udp ct state new goto {}", kNewOwn)});
  auto decide = own_let_go(spec);
  decide.emplace_back("drop");
  return text + nft_chain(kNewOwn, "", decide);
}

}  // namespace

std::string ruleset(const CaptureSpec& spec) {
  std::vector<std::string> arrivals;
  if (spec.keep_source) {
    arrivals.push_back(fmt::format("{} return", spec.marks.match(spec.marks.reply())));
  }
  if (spec.hold) {
    const std::string missed = spec.hold->marks.match(spec.hold->marks.missed);
    if (spec.host) arrivals.push_back(fmt::format("iifname \"lo\" {} goto again_own", missed));
    if (!spec.interfaces.empty()) arrivals.push_back(missed + " goto again_forwarded");
  }
  if (spec.host) {
    arrivals.push_back(fmt::format("iifname \"lo\" {} goto own_arrives", match_own(spec)));
  }
  if (!spec.interfaces.empty()) {
    arrivals.push_back(fmt::format("iifname {} goto forwarded", interface_set(spec.interfaces)));
  }
  std::string text = nft_chain("prerouting", "filter hook prerouting priority mangle", arrivals);
  if (spec.hold) {
    // What the kernel lets pass by itself when the queue is full is sent again by its client.
    text = nft_chain("missed", "filter hook prerouting priority mangle + 1",
                     {spec.hold->marks.match(spec.hold->marks.missed) + " drop"}) +
           hold::chains(*spec.hold) + text;
  }
  if (!spec.interfaces.empty()) text += forwarded_chains(spec);
  if (spec.host) text += own_chains(spec);
  text += reply_chain(spec);
  return text + kernel_rule_chains(spec) + masquerade_chain(spec);
}

std::string closed_ruleset(const CaptureSpec& spec) {
  std::string text;
  if (!spec.interfaces.empty()) text += closed_forwarded(spec);
  if (spec.host) text += closed_own(spec);
  return text + kernel_rule_chains(spec);
}

std::vector<RuleSpec> rules(const CaptureSpec& spec, std::uint32_t first_priority,
                            std::uint32_t table) {
  std::vector<RuleSpec> out;
  const auto add = [&](Family family, std::uint32_t priority, std::uint32_t mark,
                       std::string in_interface) {
    const bool with_worker = spec.hold && mark == spec.marks.own;
    out.push_back(RuleSpec{.family = family,
                           .priority = priority,
                           .mark = mark,
                           .mask = with_worker ? spec.hold->marks.mask : spec.marks.mask,
                           .in_interface = std::move(in_interface),
                           .table = table});
  };
  for (const Family family : spec.families()) {
    std::uint32_t priority = first_priority;
    for (const std::string& name : spec.interfaces) {
      add(family, priority++, spec.marks.forwarded, name);
    }
    if (spec.host) add(family, priority, spec.marks.own, "lo");
  }
  return out;
}

std::vector<RouteSpec> routes(const CaptureSpec& spec, std::string_view device,
                              std::uint32_t table) {
  std::vector<RouteSpec> out;
  for (const Family family : spec.families()) {
    out.push_back(RouteSpec{.family = family,
                            .type = RouteType::local,
                            .destination = Address::any(family),
                            .prefix_length = 0,
                            .table = table,
                            .interface = std::string(device),
                            .gateway = std::nullopt,
                            .preferred_source = std::nullopt,
                            .metric = 0});
  }
  return out;
}

}  // namespace shunt::tproxy
