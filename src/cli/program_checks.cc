// SPDX-License-Identifier: GPL-2.0-only
#include "cli/program_checks.h"

#include <fmt/format.h>
#include <linux/capability.h>

#include <string>
#include <string_view>
#include <utility>

#include "capture/routed_probe.h"
#include "cli/route_mechanism.h"
#include "cli/run_method.h"
#include "kernel/capabilities.h"
#include "kernel/capture_program.h"
#include "kernel/netns.h"
#include "kernel/resolver_file.h"
#include "kernel/watch_program.h"

namespace shunt::cli {
namespace {

using State = Finding::State;

/// One that does not work is no lack: something else does as well, or nobody asked for it.
Finding finding_of(std::string name, std::string_view works, const Result<void>& tried) {
  return {.state = tried ? State::works : State::note,
          .name = std::move(name),
          .detail = tried ? std::string(works) : tried.error().text(),
          .fix = tried ? "" : tried.error().help};
}

void add_run_methods(std::vector<Finding>& out) {
  bool any = false;
  for (const RunMethodRow& row : run_methods()) {
    if (row.probe == nullptr) continue;
    const auto works = row.probe();
    any = any || works.has_value();
    out.push_back(finding_of(fmt::format("run-{}", word_of(row.method)), row.summary, works));
  }
  if (any) return;
  out.push_back({.state = State::lacks,
                 .name = "run",
                 .detail = "a command cannot be captured here in any way",
                 .fix = ""});
}

/// Attaching to the topmost cgroup would touch the whole machine, and is not tried.
void add_watch(std::vector<Finding>& out) {
  auto works = CaptureProgram::probe();
  if (works) works = WatchProgram::probe();
  out.push_back(finding_of("watch",
                           "programs that run already, by eBPF; what is not tried is to attach "
                           "them to the root of the cgroups, where they see the whole machine",
                           works));
}

Result<void> try_resolver_file() {
  const auto tried = run_in_child([]() -> Result<std::string> {
    SHUNT_CHECK(enter_own_resolver_file("nameserver 192.0.2.1\n"));
    return std::string();
  });
  if (!tried) return Failure(tried.error());
  return {};
}

Result<void> try_route_rules(const Features& features) {
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "routing by a mark, a table or a gateway"));
  const Feature& rules = features[FeatureId::policy_routing];
  if (rules.available) return {};
  return Failure(make_error(Kind::unsupported, rules.reason, rules.fix));
}

void add_route(std::vector<Finding>& out, const Features& features) {
  out.push_back(finding_of("route",
                           "a command's sockets are made for it (seccomp): --interface and "
                           "--source need no privilege",
                           probe_routed_sockets()));
  out.push_back(finding_of("route-rules", "--gateway, --table and --mark, by rules of routing",
                           try_route_rules(features)));
  out.push_back(finding_of("route-dns", "--dns, by an /etc/resolv.conf that only a command sees",
                           try_resolver_file()));
  out.push_back(finding_of("route-ebpf",
                           "`shunt route TARGET` by eBPF: all targets but port:; attaching to the "
                           "root of the cgroups is not tried",
                           probe_route_mechanism(RouteMechanism::ebpf)));
  out.push_back(finding_of("route-nftables",
                           "`shunt route TARGET` by nftables: uid, gid, cgroup, classid and port",
                           probe_route_mechanism(RouteMechanism::nftables)));
}

}  // namespace

void add_program_checks(std::vector<Finding>& out, const Features& features) {
  add_run_methods(out);
  add_watch(out);
  add_route(out, features);
}

}  // namespace shunt::cli
