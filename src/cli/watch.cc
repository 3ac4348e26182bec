// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "base/escape.h"
#include "base/log.h"
#include "capture/cgroup_capture.h"
#include "capture/cgroup_processes.h"
#include "capture/host_network.h"
#include "capture/host_network_watch.h"
#include "capture/reply_sockets.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/dns_setup.h"
#include "cli/least_privilege.h"
#include "cli/proxy_setup.h"
#include "cli/rule_options.h"
#include "cli/stop_signals.h"
#include "cli/target_options.h"
#include "cli/watch_network.h"
#include "cli/watch_request.h"
#include "cli/watch_target.h"
#include "cli/watched.h"
#include "kernel/capabilities.h"
#include "kernel/marks.h"
#include "kernel/netns.h"
#include "kernel/open_connections.h"
#include "kernel/policy_route.h"
#include "kernel/process_facts.h"
#include "proxy/dns_service.h"
#include "proxy/proxy.h"

namespace shunt::cli {
namespace {

constexpr std::uint32_t kLogFlushMs = 1000;
constexpr int kDrainStepMs = 100;

constexpr std::string_view kEgress[] = {"outside", "inside"};

constexpr Option kOptions[] = {
    kMoveOption,
    kCgroupRootOption,
    {.name = "egress",
     .type = ValueType::choice,
     .value = "WHERE",
     .help =
         "of a target with a network namespace of its own: whether its connections leave by this "
         "network or by its own",
     .fallback = "outside",
     .choices = kEgress},
    {.name = "workers",
     .type = ValueType::count,
     .value = "N",
     .help = "how many threads carry traffic; without it, one for each core",
     .minimum = 1,
     .maximum = 256},
    {.name = "drain",
     .type = ValueType::duration,
     .value = "TIME",
     .help = "how long live connections may go on when shunt is told to stop",
     .fallback = "10s"},
    {.name = "debug-engine-root",
     .type = ValueType::path,
     .value = "PATH",
     .help = "look for the state files of container engines below PATH",
     .hidden = true},
    {.name = "debug-unmarked",
     .help = "capture shunt's own connections too, to test the other guards against loops",
     .hidden = true},
};

constexpr Example kExamples[] = {
    {"sudo shunt watch pid:4711", "a process that runs already, and its children"},
    {"sudo shunt watch unit:nginx --via socks5://127.0.0.1:1080",
     "a service, also when it is restarted, through a proxy"},
    {"sudo shunt watch container:web", "a container, whatever network it has"},
    {"sudo shunt watch host '!name:wget' '!uid:postgres'",
     "everything on this machine but wget and a user"},
};

Result<void> check_options(const Options& options) {
  if (!has_capability(CAP_NET_ADMIN)) {
    return Failure(make_error(Kind::privilege, error_number::kGatewayPrivilege,
                              "taking over what others run needs CAP_NET_ADMIN and CAP_BPF",
                              fmt::format("sudo shunt {}", command_line(options))));
  }
  if (options.value("connect") != "honest") return {};
  return Failure(make_error(Kind::unsupported, error_number::kNotHonest,
                            "what eBPF captures cannot be held until its server has answered",
                            "leave --connect out"));
}

/// What upstream sockets bear, and the programs let go.
Result<std::uint32_t> egress_mark(const Options& options) {
  if (options.has("debug-unmarked")) return 0;
  std::vector<RuleSpec> rules;
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    if (auto listed = list_rules(family)) std::ranges::move(*listed, std::back_inserter(rules));
  }
  const Marks marks = SHUNT_TRY(choose_marks(mark_bits_in_use(rules)));
  return marks.egress;
}

/// What can be reached is what this network reaches; programs see the addresses of their own.
HostNetwork shown_of(const HostNetwork& reaching, const HostNetwork& theirs) {
  HostNetwork shown = reaching;
  if (shown.ipv4.source && theirs.ipv4.source) shown.ipv4.source = theirs.ipv4.source;
  if (shown.ipv6.source && theirs.ipv6.source) shown.ipv6.source = theirs.ipv6.source;
  return shown;
}

/// A proxy on this machine whose own connections are captured is handed them back, round and round.
void warn_of_captured_proxy(const Endpoint& proxy, const std::vector<pid_t>& captured) {
  for (const pid_t pid : listeners_at(proxy)) {
    if (std::ranges::find(captured, pid) == captured.end()) continue;
    const ProcessFact process = process_facts(pid);
    log(LogLevel::warning,
        fmt::format("the proxy at {} is process {} ({}), which is captured as well: what it sends "
                    "goes round and round; '!name:{}' leaves it alone",
                    proxy.text(), pid, escaped(process.name), escaped(process.name)));
    return;
  }
}

/// The running of it: what it holds goes in the reverse order.
class WatchRun {
 public:
  WatchRun(const Options& options, WatchRequest request)
      : options_(options), request_(std::move(request)) {}

  Result<void> set_up(const StopSignals& signals);
  Result<void> run();
  void finish();

 private:
  Result<void> make_capture(std::uint32_t mark);
  Result<void> prepare_traffic(std::uint32_t mark);
  Result<void> start_proxy(std::uint32_t mark);
  void say_what_is_watched() const;
  void say_what_is_not_captured() const;
  void follow_network();

  const Options& options_;
  WatchRequest request_;
  const StopSignals* signals_ = nullptr;
  CgroupProcesses processes_;
  std::optional<CgroupCapture> capture_;
  std::optional<HostNetworkWatch> network_;
  std::optional<HostNetwork> theirs_;  ///< of targets with a network of their own
  TrafficSetup traffic_;
  std::shared_ptr<const DnsSettings> dns_;
  PrivilegeNeeds needs_{.ebpf = true};
  std::unique_ptr<Proxy> proxy_;
  std::optional<Watched> watched_;
};

/// The programs, the listeners, a device and a route are where the targets are; everything else,
/// and what the proxy connects to, is here.
Result<void> WatchRun::make_capture(std::uint32_t mark) {
  const bool through_proxy = options_.has("via");
  const HostNetwork host = look_at_host(through_proxy);
  CgroupCaptureOptions capture{.host = host,
                               .name_servers = loopback_name_servers(),
                               .workers = worker_count(options_.count("workers")),
                               .own_mark = mark,
                               .own_process = !options_.has("debug-unmarked"),
                               .selection = selection_of(request_)};
  const auto create = [&]() -> Result<void> {
    capture_ = SHUNT_TRY(CgroupCapture::create(capture));
    return {};
  };
  if (request_.network < 0) {
    SHUNT_CHECK(create());
  } else {
    capture.name_servers.clear();  // those on loopback are the targets' own
    SHUNT_CHECK(run_in_network_namespace(request_.network, [&]() -> Result<void> {
      theirs_ = look_at_host(through_proxy);
      capture.host = shown_of(host, *theirs_);
      return create();
    }));
  }
  if (auto watch = HostNetworkWatch::create(host, through_proxy)) network_ = std::move(*watch);
  return {};
}

Result<void> WatchRun::prepare_traffic(std::uint32_t mark) {
  auto rules = SHUNT_TRY(rules_of(options_));
  const DnsConfig dns = SHUNT_TRY(dns_config(options_));
  needs_ = privilege_needs(*rules, true);
  needs_.ebpf = true;
  traffic_ = SHUNT_TRY(set_up_traffic(options_, std::move(rules), mark));
  dns_ = SHUNT_TRY(make_dns(dns, "", true));
  return {};
}

Result<void> WatchRun::start_proxy(std::uint32_t mark) {
  static_cast<void>(SHUNT_TRY(give_up_privileges(needs_)));
  traffic_.start_log(options_.has("json"), STDOUT_FILENO, &processes_);
  ProxyOptions proxy = traffic_.proxy_options(options_);
  proxy.dns = dns_;
  proxy.workers = std::move(capture_->listeners().workers);
  proxy.method = CaptureMethod::ebpf;
  proxy.own_listeners = capture_->listeners().own;
  proxy.origins = capture_->origins();
  proxy.reply_sockets = local_reply_sockets(mark);
  proxy.processes = &processes_;
  proxy_ = SHUNT_TRY(Proxy::start(std::move(proxy)));
  return {};
}

// Programs are attached with all privileges, before there is a thread: who connects meanwhile waits
// in the listeners' queues.
Result<void> WatchRun::set_up(const StopSignals& signals) {
  signals_ = &signals;
  const std::uint32_t mark = SHUNT_TRY(egress_mark(options_));
  SHUNT_CHECK(make_capture(mark));
  SHUNT_CHECK(prepare_traffic(mark));
  watched_ = SHUNT_TRY(Watched::start(request_, capture_->program()));
  say_what_is_watched();
  say_what_is_not_captured();
  SHUNT_CHECK(start_proxy(mark));
  log(LogLevel::info,
      fmt::format("ready: room for {} connections at once", proxy_->flow_capacity()));
  return {};
}

void WatchRun::say_what_is_watched() const {
  std::vector<std::string> words;
  for (const WatchTarget& target : request_.targets) words.push_back(text_of(target));
  log(LogLevel::info, fmt::format("watching {} by ebpf on {}{}", fmt::join(words, " "),
                                  fmt::join(watched_->cgroups(), ", "),
                                  request_.network < 0 ? "" : ", in a network of its own"));
  for (const std::string& awaited : watched_->awaited()) {
    log(LogLevel::info, fmt::format("{}: none at present; captured as soon as there is", awaited));
  }
  if (!capture_->why_no_ipv6_datagrams().empty()) {
    log(LogLevel::warning,
        fmt::format("datagrams over IPv6 are refused: {}", capture_->why_no_ipv6_datagrams()));
  }
}

void WatchRun::say_what_is_not_captured() const {
  const auto processes = watched_->processes();
  const auto moved = watched_->moved();
  std::vector<pid_t> stayed;
  std::ranges::copy_if(processes, std::back_inserter(stayed),
                       [&](pid_t pid) { return std::ranges::find(moved, pid) == moved.end(); });
  if (const auto before = count_sockets(stayed, CountedSockets::connected); before > 0) {
    log(LogLevel::info,
        fmt::format("connections that were there before, and go on as they are: {} of {} processes",
                    before, stayed.size()));
  }
  if (const auto before = count_sockets(moved, CountedSockets::outgoing); before > 0) {
    log(LogLevel::info, fmt::format("sockets that were made before the move, and are not captured: "
                                    "{} of {} processes",
                                    before, moved.size()));
  }
  const auto elsewhere = std::ranges::count_if(
      processes, [&](pid_t pid) { return !shares_network(pid, request_.network); });
  if (elsewhere > 0) {
    log(LogLevel::warning, fmt::format("{} of {} processes are in other network namespaces "
                                       "(containers): they are not captured",
                                       elsewhere, processes.size()));
  }
  for (const Endpoint& proxy : traffic_.way_out->proxies())
    warn_of_captured_proxy(proxy, processes);
}

void WatchRun::follow_network() {
  if (const auto host = network_ ? network_->changed() : std::nullopt) {
    capture_->change_network(theirs_ ? shown_of(*host, *theirs_) : *host);
  }
}

Result<void> WatchRun::run() {
  while (true) {
    pollfd polled[] = {{.fd = signals_->fd(), .events = POLLIN, .revents = 0},
                       {.fd = network_ ? network_->fd() : -1, .events = POLLIN, .revents = 0}};
    const int wait_ms = network_ ? network_->timeout_ms() : -1;
    if (::poll(polled, std::size(polled), wait_ms) < 0 && errno != EINTR) {
      return Failure(errno_error("poll"));
    }
    follow_network();
    if (polled[0].revents != 0 && signals_->take()) return {};
  }
}

/// What is new goes on directly from here on, what lives may end by itself.
void WatchRun::finish() {
  capture_->program().capture_no_more();
  watched_.reset();
  log(LogLevel::info, fmt::format("stopping: {} live connections", proxy_->live_flows()));
  std::uint32_t left = options_.duration_ms("drain");
  while (!proxy_->drain(std::min<std::uint32_t>(left, kDrainStepMs))) {
    if (left <= kDrainStepMs || signals_->interrupted_again()) break;
    left -= kDrainStepMs;
  }
  proxy_->stop();
  if (traffic_.log) traffic_.log->stop(kLogFlushMs);
}

Result<int> run_watch(const Options& options) {
  auto request = SHUNT_TRY(parse_watch_request(options, TargetsOf::watch));
  SHUNT_CHECK(check_options(options));
  const UniqueFd network =
      SHUNT_TRY(resolve_networks(request.targets, options.value("debug-engine-root")));
  if (network.valid() && options.value("egress") == "outside") {
    request.network = network.get();
  } else if (network.valid() && ::setns(network.get(), CLONE_NEWNET) != 0) {
    return Failure(errno_error("enter the network namespace of the targets"));
  }
  const auto signals = SHUNT_TRY(StopSignals::create());
  raise_descriptor_limit();
  (void)sweep_cgroups(request.root);
  WatchRun run(options, std::move(request));
  SHUNT_CHECK(run.set_up(signals));
  const auto ended = run.run();
  run.finish();
  SHUNT_CHECK(ended);
  return 0;
}

}  // namespace

constinit const Command kWatchCommand = {
    .name = "watch",
    .summary = "take over what runs already: a process, a service, a user, all",
    .usage = "[options] TARGET…",
    .description =
        "Captures what the targets connect to from now on, by eBPF programs on cgroups, until it "
        "is interrupted; connections that they have already go on as they are. Targets are "
        "pid:N (with its children), name:NAME, unit:NAME, cgroup:/PATH, classid:N (of net_cls), "
        "uid:USER, gid:GROUP, container:NAME (of docker and podman), netns:/PATH and host; with ! "
        "in front, who is left alone whatever else names him.\n\n"
        "Traffic lines go to standard output, diagnostics to standard error.",
    .options = kOptions,
    .shared_options = kTrafficOptions,
    .examples = kExamples,
    .minimum_words = 1,
    .maximum_words = std::numeric_limits<unsigned>::max(),
    .missing_word = "a target",
    .run = run_watch,
};

}  // namespace shunt::cli
