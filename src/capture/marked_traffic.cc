// SPDX-License-Identifier: GPL-2.0-only
#include "capture/marked_traffic.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "capture/ruleset_text.h"

namespace shunt {
namespace {

constexpr std::uint32_t kWholeMark = 0xffffffff;

/// "meta mark 0x00000010", "ct mark & 0x0f000000 == 0x01000000".
std::string bears(const MarkedTraffic& traffic, std::string_view what) {
  if (traffic.mask == kWholeMark) return fmt::format("{} mark {:#010x}", what, traffic.mark);
  return fmt::format("{} mark & {:#010x} == {:#010x}", what, traffic.mask, traffic.mark);
}

std::string give(const MarkedTraffic& traffic, std::string_view what) {
  if (traffic.mask == kWholeMark) return fmt::format("{} mark set {:#010x}", what, traffic.mark);
  return fmt::format("{0} mark set {0} mark & {1:#010x} | {2:#010x}", what, ~traffic.mask,
                     traffic.mark);
}

std::string with(const std::string& match, std::string_view statement) {
  return match.empty() ? std::string(statement) : fmt::format("{} {}", match, statement);
}

std::string output_chains(const MarkedTraffic& traffic) {
  std::vector<std::string> decide{"fib daddr type { local, broadcast, multicast, anycast } return"};
  for (const std::string& match : traffic.left) decide.push_back(with(match, "return"));
  for (const std::string& match : traffic.taken) decide.push_back(with(match, "goto take"));
  const std::vector<std::string> output{
      fmt::format("{} ct direction original {} return", bears(traffic, "ct"),
                  give(traffic, "meta")),
      fmt::format("{} ct state new goto decide", kTcpSyn),
      "meta l4proto != tcp ct state new goto decide",
  };
  return nft_chain("take", "", {give(traffic, "ct"), give(traffic, "meta")}) +
         nft_chain("decide", "", decide) +
         nft_chain("output", "route hook output priority mangle", output);
}

std::string source_chain(const MarkedTraffic& traffic) {
  const std::string marked = bears(traffic, "meta");
  std::vector<std::string> statements;
  for (const auto& [source, family] :
       {std::pair(traffic.source_v4, "ip"), std::pair(traffic.source_v6, "ip6")}) {
    if (!source) continue;
    statements.push_back(fmt::format("{} meta nfproto {} snat {} to {}", marked,
                                     source->is_v4() ? "ipv4" : "ipv6", family, source->text()));
  }
  if (statements.empty()) statements.push_back(fmt::format("{} masquerade", marked));
  return nft_chain("source", "nat hook postrouting priority srcnat", statements);
}

/// A family that has no source is not to leave with another.
std::string refusing_chain(const MarkedTraffic& traffic) {
  const bool one = traffic.source_v4.has_value() != traffic.source_v6.has_value();
  if (!one) return {};
  return nft_chain("refuse", "filter hook output priority filter",
                   {fmt::format("{} meta nfproto {} reject with icmpx no-route",
                                bears(traffic, "meta"), traffic.source_v4 ? "ipv6" : "ipv4")});
}

}  // namespace

std::string marking_ruleset(const MarkedTraffic& traffic) {
  std::string text = output_chains(traffic);
  if (traffic.translate) text += source_chain(traffic) + refusing_chain(traffic);
  return text;
}

}  // namespace shunt
