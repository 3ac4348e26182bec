// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>
#include <span>
#include <string>

#include "kernel/features.h"

namespace shunt {

/// Not available where one of the interfaces is a bridge whose packets pass the hooks of IP while
/// they are bridged (br_netfilter; on by default once that module is loaded): the socket that
/// TPROXY gives such a packet is taken from it before the packet reaches IP (skb_orphan() in
/// ip_rcv_core()), and no hook is asked a second time (ip_sabotage_in()). Nothing where none is.
std::optional<Feature> bridge_netfilter_on(std::span<const std::string> interfaces, bool ipv6);

}  // namespace shunt
