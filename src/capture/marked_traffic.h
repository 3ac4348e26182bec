// SPDX-License-Identifier: GPL-2.0-only
// The rules by which `shunt route` sends traffic of programs that run already another way, where it
// is done by nftables: connections are marked as they leave, and routed again by their mark.
//
//   program -> socket -> route by the main table -> [output: mark] -> route by the mark
//                                                     [postrouting: the source address of that way]
//
// The socket has its source address from the first route, so it is translated; answers find back by
// conntrack. Connections that were there before are left alone: their mark would lead them away
// under the address that they have. Datagrams count as connections of conntrack. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/endpoint.h"

namespace shunt {

struct MarkedTraffic {
  /// Matches of nftables, of which each means some of this machine's own traffic; "": all of it.
  std::vector<std::string> taken;
  std::vector<std::string> left;  ///< whatever `taken` says
  std::uint32_t mark = 0;
  std::uint32_t mask = 0;  ///< the bits of it that are shunt's
  /// Translate the source: to these, or to that of the interface by which it leaves.
  bool translate = false;
  std::optional<Address> source_v4 = {};
  std::optional<Address> source_v6 = {};
};

/// The body of a table of the inet family.
std::string marking_ruleset(const MarkedTraffic& traffic);

}  // namespace shunt
