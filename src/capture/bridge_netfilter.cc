// SPDX-License-Identifier: GPL-2.0-only
#include "capture/bridge_netfilter.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/links.h"
#include "kernel/sysctl.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

bool is_on(const Result<std::string>& setting) { return setting && setting->starts_with('1'); }

/// For all bridges of the network namespace, or for this one (br_netfilter_hooks.c,
/// br_nf_pre_routing()).
bool passes_hooks(const std::string& bridge, std::string_view tables) {
  return is_on(read_sysctl(fmt::format("net/bridge/bridge-nf-call-{}", tables))) ||
         is_on(read_text_file(fmt::format("/sys/class/net/{}/bridge/nf_call_{}", bridge, tables)));
}

}  // namespace

std::optional<Feature> bridge_netfilter_on(std::span<const std::string> interfaces, bool ipv6) {
  const auto links = list_links();
  if (!links) return std::nullopt;
  for (const Link& link : *links) {
    const bool asked = std::ranges::find(interfaces, link.name) != interfaces.end();
    if (!asked || link.kind != "bridge") continue;
    if (!passes_hooks(link.name, "iptables") && !(ipv6 && passes_hooks(link.name, "ip6tables"))) {
      continue;
    }
    return Feature{
        .name = "bridge-netfilter",
        .available = false,
        .reason = fmt::format("what {} bridges passes netfilter before it reaches IP, where its "
                              "socket is lost",
                              link.name),
        .fix =
            "sysctl -w net.bridge.bridge-nf-call-iptables=0 "
            "net.bridge.bridge-nf-call-ip6tables=0   (some container engines want 1)"};
  }
  return std::nullopt;
}

}  // namespace shunt
