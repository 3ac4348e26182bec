// SPDX-License-Identifier: GPL-2.0-only
// What a gateway captures, and with which numbers: the one source of the rules that are applied
// and of those that `shunt plan` prints.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "capture/hold.h"
#include "capture/selector.h"
#include "kernel/marks.h"
#include "net/endpoint.h"

namespace shunt {

struct CaptureSpec {
  std::vector<std::string> interfaces;  ///< the LAN's: what arrives there and would be forwarded
  bool host = false;                    ///< the machine's own traffic too
  bool loopback = false;                ///< and its connections to its own addresses
  bool own_dns = false;                 ///< and its queries of DNS to loopback addresses
  bool masquerade = false;              ///< what leaves uncaptured with a private address
  bool notrack = false;                 ///< captured TCP of the LAN's is not tracked; never held
  bool keep_source = false;             ///< upstream sockets may bear clients' addresses
  std::vector<Exclusion> exclusions;
  std::vector<KernelDecision> kernel_rules;  ///< behind the exclusions
  Marks marks;
  std::uint16_t port = 0;             ///< of the listeners
  unsigned udp_listeners = 1;         ///< with ports of their own from that one on
  std::optional<HoldSpec> hold = {};  ///< TPROXY only; none: clients are let in first
  bool ipv6 = true;                   ///< false on a kernel without IPv6

  [[nodiscard]] std::vector<Family> families() const {
    if (ipv6) return {Family::ipv4, Family::ipv6};
    return {Family::ipv4};
  }
};

}  // namespace shunt
