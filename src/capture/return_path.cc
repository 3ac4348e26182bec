// SPDX-License-Identifier: GPL-2.0-only
#include "capture/return_path.h"

#include <fmt/format.h>

#include <utility>

#include "capture/ruleset_text.h"

namespace shunt::return_path {

std::string chains(const CaptureSpec& spec) {
  if (!spec.keep_source) return {};
  const Marks& marks = spec.marks;
  const std::string known = marks.match(marks.reply(), "ct");
  // Before the chains of the capture: what is an answer is no new flow.
  std::string text =
      nft_chain("return_path", "filter hook prerouting priority mangle - 1",
                {"iifname \"lo\" return",
                 fmt::format("{} ct direction reply {} return", known, marks.set(marks.reply())),
                 fmt::format("meta l4proto {{ tcp, udp, icmp, icmpv6 }} socket transparent 1 "
                             "socket mark & {:#010x} == {:#010x} {}",
                             marks.mask, marks.kept(), marks.set(marks.reply()))});
  // A connection that shares its entry with the client's (the same port) keeps the capture's mark.
  text += nft_chain("kept_sources", "route hook output priority mangle - 1",
                    {fmt::format("{} ct direction original {} {}", marks.match(marks.kept()),
                                 marks.match(0, "ct"), marks.set(marks.reply(), "ct")),
                     fmt::format("{} ct direction reply {}", known, marks.set(marks.own_reply()))});
  std::vector<std::string> translation{fmt::format("{} snat ip to ip saddr", known)};
  if (spec.ipv6) translation.push_back(fmt::format("{} snat ip6 to ip6 saddr", known));
  return text +
         nft_chain("kept_addresses", "nat hook postrouting priority srcnat - 1", translation);
}

std::vector<RuleSpec> rules(const CaptureSpec& spec, std::span<const Family> families,
                            std::uint32_t first_priority, std::uint32_t table) {
  std::vector<RuleSpec> out;
  if (!spec.keep_source) return out;
  const Marks& marks = spec.marks;
  for (const Family family : families) {
    const auto add = [&](std::uint32_t place, std::uint32_t mark, RuleAction action,
                         std::string in_interface) {
      const bool jump = action == RuleAction::jump;
      const bool lookup = action == RuleAction::lookup;
      out.push_back(RuleSpec{.family = family,
                             .priority = first_priority + place,
                             .mark = mark,
                             .mask = marks.mask,
                             .in_interface = std::move(in_interface),
                             .table = lookup ? table : 0,
                             .action = action,
                             .jump_to = jump ? first_priority + 3 : 0});
    };
    add(0, marks.own_reply(), RuleAction::lookup, "lo");
    if (family == Family::ipv4) {  // IPv6 knows no martian source
      add(3, marks.reply(), RuleAction::nothing, "");
      add(1, marks.reply(), RuleAction::jump, "lo");
    }
    add(2, marks.reply(), RuleAction::lookup, "");
  }
  return out;
}

}  // namespace shunt::return_path
