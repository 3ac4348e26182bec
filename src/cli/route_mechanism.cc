// SPDX-License-Identifier: GPL-2.0-only
#include "cli/route_mechanism.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error_numbers.h"
#include "capture/marked_traffic.h"
#include "capture/selector.h"
#include "cli/options.h"
#include "kernel/capabilities.h"
#include "kernel/cgroup.h"
#include "kernel/net_cls.h"
#include "kernel/nft.h"
#include "kernel/route_program.h"
#include "kernel/watch_program.h"

namespace shunt::cli {
namespace {

using By = WatchTarget::By;

Failure cannot(std::string message, std::string help) {
  return Failure(make_error(Kind::unsupported, error_number::kNoRouteMethod, std::move(message),
                            std::move(help)));
}

/// What nftables cannot tell: who a process is.
Result<void> check_nftables_targets(const WatchRequest& request) {
  for (const WatchTarget& target : request.targets) {
    if (target.by != By::process && target.by != By::name) continue;
    return cannot(
        fmt::format("{} cannot be routed by nftables, which knows users, groups, cgroups, "
                    "classes and ports",
                    text_of(target)),
        "uid:USER, unit:NAME or cgroup:/PATH; or --method ebpf");
  }
  return {};
}

/// What eBPF cannot tell when a socket is made: where it will connect to.
Result<void> check_ebpf_targets(const WatchRequest& request) {
  const auto port = std::ranges::find(request.targets, By::port, &WatchTarget::by);
  if (port == request.targets.end()) return {};
  return cannot(fmt::format("{} cannot be routed by eBPF, which routes sockets before they connect",
                            text_of(*port)),
                "--method nftables; with other targets that only eBPF can tell, two of them");
}

Result<void> probe_ebpf(const WatchRequest& request) {
  if (request.root.empty()) static_cast<void>(SHUNT_TRY(cgroup_directory_of("/")));
  SHUNT_CHECK(probe_route_mechanism(RouteMechanism::ebpf));
  if (std::ranges::none_of(request.targets, needs_following)) return {};
  return WatchProgram::probe();
}

Result<ChosenMechanism> choose_first(const WatchRequest& request) {
  const auto by_ebpf = check_ebpf_targets(request);
  const auto by_nftables = check_nftables_targets(request);
  if (!by_ebpf && !by_nftables) {
    return cannot("some of the targets only eBPF can tell, and ports only nftables",
                  "a shunt route for each of the two kinds");
  }
  const auto possible = by_ebpf ? probe_ebpf(request) : by_ebpf;
  if (possible) return ChosenMechanism{};
  if (!by_nftables) return Failure(possible.error());
  SHUNT_CHECK(probe_route_mechanism(RouteMechanism::nftables));
  return ChosenMechanism{.mechanism = RouteMechanism::nftables, .why_not = possible.error().text()};
}

/// "/a/b" of "/sys/fs/cgroup/a/b"; "" of the topmost one.
std::string path_below_mount(const std::string& directory) {
  const auto top = cgroup_directory_of("/");
  if (!top || !directory.starts_with(*top)) return {};
  std::string path = directory.substr(top->size());
  while (path.starts_with('/')) path.erase(0, 1);
  return path.empty() ? path : "/" + path;
}

Result<std::vector<std::string>> matches_of_terms(const WatchTarget& target,
                                                  const std::string& terms) {
  auto parsed = parse_exclusion(terms);
  if (parsed) return std::move(parsed->own);
  return Failure(make_error(Kind::runtime, error_number::kBadTarget,
                            fmt::format("{}: {}", text_of(target), parsed.error().message),
                            parsed.error().help));
}

std::string cgroup_term(const std::string& path) {
  return path.empty() ? std::string() : fmt::format("cgroup \"{}\" ", path);
}

std::string ids_of(const WatchTarget& target) {
  std::vector<std::string> parts;
  for (const NumberRange& range : target.ids) {
    parts.push_back(fmt::format("{}-{}", range.low, range.high));
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

Result<std::vector<std::string>> matches_of_cgroup(const WatchTarget& target,
                                                   const std::string& path,
                                                   const WatchRequest& request) {
  static_cast<void>(SHUNT_TRY(cgroup_of_target(target, path, request)));
  return matches_of_terms(target, cgroup_term(path));
}

Result<std::vector<std::string>> matches_of_unit(const WatchTarget& target,
                                                 const WatchRequest& request) {
  std::vector<std::string> matches;
  for (const std::string& directory : find_cgroups(request.root, target.text)) {
    const auto more = SHUNT_TRY(matches_of_terms(target, cgroup_term(path_below_mount(directory))));
    matches.insert(matches.end(), more.begin(), more.end());
  }
  if (!matches.empty() || target.excluded) return matches;
  return cannot(fmt::format("{} does not run, and nftables cannot wait for it", text_of(target)),
                "start it first; with eBPF it is awaited (shunt doctor says what that lacks)");
}

Result<std::vector<std::string>> matches_of(const WatchTarget& target,
                                            const WatchRequest& request) {
  const std::string within = cgroup_term(path_below_mount(request.root));
  switch (target.by) {
    case By::user: return matches_of_terms(target, fmt::format("{}uid {}", within, ids_of(target)));
    case By::group:
      return matches_of_terms(target, fmt::format("{}gid {}", within, ids_of(target)));
    case By::port: return matches_of_terms(target, fmt::format("{}port {}", within, target.text));
    case By::classid: {
      SHUNT_CHECK(check_net_cls());
      return matches_of_terms(target, fmt::format("{}classid {:#x}", within, target.number));
    }
    case By::cgroup: return matches_of_cgroup(target, target.text, request);
    case By::container: return matches_of_cgroup(target, target.cgroup, request);
    case By::unit: return matches_of_unit(target, request);
    case By::network:
    case By::host:
      if (!within.empty()) return matches_of_terms(target, within);
      return std::vector{std::string()};
    case By::process:
    case By::name: break;  // check_nftables_targets()
  }
  return std::vector<std::string>();
}

}  // namespace

Result<void> probe_route_mechanism(RouteMechanism mechanism) {
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "routing programs that run already"));
  if (mechanism == RouteMechanism::ebpf) return RouteProgram::probe();
  // A cgroup would have to exist to be named.
  const MarkedTraffic traffic{
      .taken = {"meta skuid 0"}, .left = {}, .mark = 1, .mask = 1, .translate = true};
  return nft_check(nft_table_text("probe_route", marking_ruleset(traffic), TableLifetime::owned));
}

Result<ChosenMechanism> choose_route_mechanism(const Options& options,
                                               const WatchRequest& request) {
  const std::string asked = options.value("method");
  if (asked == "auto") return choose_first(request);
  if (asked == "ebpf") {
    SHUNT_CHECK(check_ebpf_targets(request));
    SHUNT_CHECK(probe_ebpf(request));
    return ChosenMechanism{};
  }
  SHUNT_CHECK(check_nftables_targets(request));
  SHUNT_CHECK(probe_route_mechanism(RouteMechanism::nftables));
  return ChosenMechanism{.mechanism = RouteMechanism::nftables, .why_not = {}};
}

Result<TargetMatches> nft_matches(const WatchRequest& request) {
  TargetMatches out;
  for (const WatchTarget& target : request.targets) {
    const auto matches = SHUNT_TRY(matches_of(target, request));
    auto& where = target.excluded ? out.left : out.taken;
    where.insert(where.end(), matches.begin(), matches.end());
  }
  return out;
}

}  // namespace shunt::cli
