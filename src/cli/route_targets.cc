// SPDX-License-Identifier: GPL-2.0-only
#include "cli/route_targets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "base/log.h"
#include "cli/options.h"
#include "cli/route_mechanism.h"
#include "cli/route_request.h"
#include "cli/route_rules.h"
#include "cli/stop_signals.h"
#include "cli/watch_network.h"
#include "cli/watch_request.h"
#include "cli/watch_target.h"
#include "cli/watched.h"
#include "kernel/capabilities.h"
#include "kernel/cgroup.h"
#include "kernel/links.h"
#include "kernel/netlink.h"
#include "kernel/open_connections.h"
#include "kernel/route_program.h"
#include "kernel/rule_guard.h"
#include "kernel/syscall_filter.h"

namespace shunt::cli {
namespace {

/// Rules and routes are put back. Who takes the process over can do no more than that.
Result<void> give_up_privileges() {
  constexpr std::array kKept = {CAP_NET_ADMIN};
  SHUNT_CHECK(keep_only(kKept));
  SHUNT_CHECK(gain_no_privileges());
  if (!can_be_restricted()) return {};
  SHUNT_CHECK(forbid_dumps());
  if (const auto restricted = restrict_system_calls({.bpf = true}); !restricted) {
    log(LogLevel::warning, restricted.error().text());
  }
  return {};
}

/// The running of it: what it holds goes in the reverse order.
class RouteRun {
 public:
  RouteRun(WatchRequest targets, RouteRequest route, ChosenMechanism chosen)
      : targets_(std::move(targets)), route_(std::move(route)), chosen_(std::move(chosen)) {}

  Result<void> set_up();
  Result<void> run(const StopSignals& signals);
  void finish();

 private:
  Result<void> route_by_ebpf();
  Result<void> route_by_nftables();
  Result<void> watch_links();
  void say_what_is_routed() const;
  void say_what_is_not_routed() const;
  [[nodiscard]] bool by_ebpf() const { return chosen_.mechanism == RouteMechanism::ebpf; }
  /// The processes that are meant; by nftables those that /proc tells of.
  [[nodiscard]] std::vector<pid_t> processes() const;
  void links_changed();

  WatchRequest targets_;
  RouteRequest route_;
  ChosenMechanism chosen_;
  std::optional<RouteRules> rules_;
  std::unique_ptr<RouteProgram> program_;
  std::optional<Watched> watched_;
  std::optional<NetlinkSocket> links_;
  std::optional<RuleGuard> guard_;
  unsigned interface_index_ = 0;
};

Result<void> RouteRun::route_by_ebpf() {
  rules_ = SHUNT_TRY(RouteRules::create(route_));
  const SocketRoute& sockets = route_.sockets;
  if (!sockets.interface.empty()) interface_index_ = SHUNT_TRY(link_index(sockets.interface));
  program_ = SHUNT_TRY(RouteProgram::load({.mark = rules_->mark(),
                                           .interface_index = interface_index_,
                                           .source_v4 = sockets.source_v4,
                                           .source_v6 = sockets.source_v6,
                                           .own_pid = ::getpid(),
                                           .selection = selection_of(targets_)}));
  watched_ = SHUNT_TRY(Watched::start(targets_, *program_));
  return {};
}

Result<void> RouteRun::route_by_nftables() {
  const SocketRoute& sockets = route_.sockets;
  if (!sockets.interface.empty() && route_.table != 0) {
    return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                              "by nftables --table alone says the interface",
                              "leave --interface out, or --method ebpf"));
  }
  auto matches = SHUNT_TRY(nft_matches(targets_));
  SHUNT_CHECK(route_by_interface(route_));
  rules_ = SHUNT_TRY(RouteRules::create(route_, RouteRules::MarkedBy::nftables));
  return rules_->mark_traffic({.taken = std::move(matches.taken),
                               .left = std::move(matches.left),
                               .translate = route_.by_rules() || sockets.has_source(),
                               .source_v4 = sockets.source_v4,
                               .source_v6 = sockets.source_v6});
}

/// Routes go with their interface, without a word of each (fib_sync_down_dev()); a socket is bound
/// to an index, which one that is made anew has not.
Result<void> RouteRun::watch_links() {
  links_ = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  SHUNT_CHECK(links_->join(RTNLGRP_LINK));
  RuleGuard::Guarded guarded = rules_->guarded();
  if (guarded.rules.empty()) return {};
  guard_ = SHUNT_TRY(RuleGuard::create(std::move(guarded)));
  return {};
}

Result<void> RouteRun::set_up() {
  warn_of_dead_ends(route_);
  if (by_ebpf()) {
    SHUNT_CHECK(route_by_ebpf());
  } else {
    SHUNT_CHECK(route_by_nftables());
  }
  SHUNT_CHECK(watch_links());
  say_what_is_routed();
  say_what_is_not_routed();
  SHUNT_CHECK(give_up_privileges());
  log(LogLevel::info, "ready: what they connect to from now on takes this way");
  return {};
}

std::vector<pid_t> RouteRun::processes() const {
  if (watched_) return watched_->processes();
  return meant_processes(targets_);
}

void RouteRun::say_what_is_routed() const {
  std::vector<std::string> words;
  for (const WatchTarget& target : targets_.targets) words.push_back(text_of(target));
  const std::string where = by_ebpf()
                                ? fmt::format("ebpf on {}", fmt::join(watched_->cgroups(), ", "))
                                : fmt::format("nftables (table inet {})", rules_->table_name());
  log(LogLevel::info,
      fmt::format("routing {} by {}: {}", fmt::join(words, " "), where, text_of(route_)));
  if (!chosen_.why_not.empty()) {
    log(LogLevel::warning, fmt::format("by nftables, since {}", chosen_.why_not));
  }
  if (!watched_) return;
  for (const std::string& awaited : watched_->awaited()) {
    log(LogLevel::info, fmt::format("{}: none at present; routed as soon as there is", awaited));
  }
}

void RouteRun::say_what_is_not_routed() const {
  const auto processes = this->processes();
  const auto elsewhere =
      std::ranges::count_if(processes, [](pid_t pid) { return !shares_network(pid); });
  if (elsewhere > 0) {
    log(LogLevel::warning, fmt::format("{} of {} processes are in other network namespaces "
                                       "(containers): they are not routed",
                                       elsewhere, processes.size()));
  }
  // By eBPF a socket takes its way when it is made, by nftables a connection when it begins.
  const auto which = by_ebpf() ? CountedSockets::outgoing : CountedSockets::connected;
  const std::size_t before = count_sockets(processes, which);
  if (before == 0) return;
  log(LogLevel::info, fmt::format("{} that were there before, and keep their way: {} of {} "
                                  "processes",
                                  by_ebpf() ? "sockets" : "connections", before, processes.size()));
}

void RouteRun::links_changed() {
  (void)links_->receive([](const nlmsghdr& /*message*/) {});
  if (guard_) guard_->replace(rules_->guarded());
  if (!program_ || route_.sockets.interface.empty()) return;
  const unsigned now = link_index(route_.sockets.interface).value_or(0);
  if (now == interface_index_) return;
  interface_index_ = now;
  program_->use_interface(now);
  log(LogLevel::warning,
      now == 0 ? fmt::format("{} is gone: no new sockets until it is there again",
                             route_.sockets.interface)
               : fmt::format("{} is there again, for new sockets", route_.sockets.interface));
}

Result<void> RouteRun::run(const StopSignals& signals) {
  while (true) {
    pollfd polled[] = {{.fd = signals.fd(), .events = POLLIN, .revents = 0},
                       {.fd = links_->fd(), .events = POLLIN, .revents = 0},
                       {.fd = guard_ ? guard_->fd() : -1, .events = POLLIN, .revents = 0}};
    if (::poll(polled, std::size(polled), -1) < 0 && errno != EINTR) {
      return Failure(errno_error("poll"));
    }
    if (polled[1].revents != 0) links_changed();
    if (polled[2].revents != 0) guard_->handle();
    if (polled[0].revents != 0 && signals.take()) return {};
  }
}

void RouteRun::finish() {
  watched_.reset();
  if (program_) {
    const RouteProgram::Counts counts = program_->counts();
    log(LogLevel::info,
        fmt::format(
            "stopping: {} sockets were routed{}{}", counts.routed,
            counts.live ? fmt::format(", {} are open still and lose their way", *counts.live) : "",
            counts.refused == 0 ? ""
                                : fmt::format("; {} were refused, which could not be "
                                              "routed so",
                                              counts.refused)));
    program_.reset();
  } else {
    log(LogLevel::info, "stopping: connections that are open still lose their way");
    rules_->mark_no_more();
  }
  guard_.reset();
  rules_.reset();
}

Result<void> check_options(const Options& options) {
  if (options.has("dns")) {
    return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                              "--dns is for a command: what runs already has read its "
                              "/etc/resolv.conf",
                              "leave it out, or: shunt watch TARGET --dns remote --dns-server "
                              "tcp://ADDRESS"));
  }
  if (has_capability(CAP_NET_ADMIN)) return {};
  return Failure(make_error(Kind::privilege, error_number::kGatewayPrivilege,
                            "routing what others run needs CAP_NET_ADMIN, and CAP_BPF for eBPF",
                            fmt::format("sudo shunt {}", command_line(options))));
}

}  // namespace

bool names_targets(const Options& options) {
  return !options.words().empty() && looks_like_target(options.words().front());
}

Result<int> route_targets(const Options& options) {
  auto targets = SHUNT_TRY(parse_watch_request(options, TargetsOf::route));
  SHUNT_CHECK(check_options(options));
  const UniqueFd network = SHUNT_TRY(resolve_networks(targets.targets, ""));
  if (network.valid() && ::setns(network.get(), CLONE_NEWNET) != 0) {
    return Failure(errno_error("enter the network namespace of the targets"));
  }
  auto route = SHUNT_TRY(parse_route_request(options));
  auto chosen = SHUNT_TRY(choose_route_mechanism(options, targets));
  const auto signals = SHUNT_TRY(StopSignals::create());
  if (!targets.root.empty()) (void)sweep_cgroups(targets.root);
  RouteRun run(std::move(targets), std::move(route), std::move(chosen));
  SHUNT_CHECK(run.set_up());
  const auto ended = run.run(signals);
  run.finish();
  SHUNT_CHECK(ended);
  return 0;
}

}  // namespace shunt::cli
