// SPDX-License-Identifier: GPL-2.0-only
// By what the traffic of programs that run already is given another way.
//
//   ebpf      their new sockets get mark, interface and source (kernel/route_program.h)
//   nftables  what leaves is marked, routed again and translated (capture/marked_traffic.h); for
//             what nftables can match: users, groups, cgroups, classes, ports
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/watch_request.h"

namespace shunt::cli {

class Options;

enum class RouteMechanism : std::uint8_t { ebpf, nftables };
inline constexpr std::string_view kRouteMethods[] = {"auto", "ebpf", "nftables"};

struct ChosenMechanism {
  RouteMechanism mechanism = RouteMechanism::ebpf;
  std::string why_not;  ///< of eBPF, where that was passed over; ""
};

/// What --method names, or the first that works here and can tell all the targets.
Result<ChosenMechanism> choose_route_mechanism(const Options& options, const WatchRequest& request);

/// Whether it works here: the programs are loaded, or the rules are checked by the kernel.
Result<void> probe_route_mechanism(RouteMechanism mechanism);

/// The targets as nftables matches them, those that are left alone apart. Units and containers by
/// the cgroups that there are now.
struct TargetMatches {
  std::vector<std::string> taken;
  std::vector<std::string> left;
};
Result<TargetMatches> nft_matches(const WatchRequest& request);

}  // namespace shunt::cli
