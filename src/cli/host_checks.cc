// SPDX-License-Identifier: GPL-2.0-only
#include "cli/host_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "capture/bridge_netfilter.h"
#include "capture/gateway_plan.h"
#include "capture/masquerade.h"
#include "cli/program_checks.h"
#include "kernel/capabilities.h"
#include "kernel/features.h"
#include "kernel/instance.h"
#include "kernel/links.h"
#include "kernel/nft.h"
#include "kernel/packet_queue.h"
#include "kernel/policy_route.h"
#include "kernel/sweep.h"
#include "kernel/sysctl.h"
#include "kernel/toa.h"
#include "net/endpoint.h"

namespace shunt::cli {
namespace {

using State = Finding::State;

constexpr rlim_t kFewDescriptors = 16'384;
constexpr std::uint32_t kFewPorts = 10'000;

/// A feature without which something else does as well (`optional`) is a note.
State state_of(const Feature& feature, bool optional) {
  if (feature.available) return State::works;
  return optional ? State::note : State::lacks;
}

/// What holds connections: without it clients are let in first.
constexpr std::array kHolding = {FeatureId::queue_expression, FeatureId::queue_target,
                                 FeatureId::packet_queue, FeatureId::early_reject};

/// How clients are held until their server has answered, in one line.
void add_honest_connect(std::vector<Finding>& out, const Features& features) {
  const Marks example{
      .mask = 0xff00'0000, .forwarded = 1U << 24, .own = 2U << 24, .egress = 3U << 24};
  GatewayOptions asked;
  asked.host = true;
  const auto hold = decide_hold(asked, CaptureMethod::tproxy, &features, example);
  Finding finding{.state = State::works, .name = "honest-connect", .detail = {}, .fix = {}};
  if (hold && hold->spec) {
    finding.detail = fmt::format(
        "clients wait until their server has answered, by {}",
        hold->spec->by_target ? "the target NFQUEUE of iptables" : "queues of nftables");
  } else {
    finding.state = State::note;
    finding.detail = fmt::format("clients are let in before their server has answered: {}",
                                 hold ? hold->why_not : hold.error().text());
  }
  out.push_back(std::move(finding));
}

/// Who else reads queues: rules of theirs may queue what shunt queues.
void add_foreign_queues(std::vector<Finding>& out) {
  const auto numbers = queues_in_use();
  const auto live = live_instances();
  if (numbers.empty() || (live && !live->empty())) return;
  out.push_back(
      {.state = State::note,
       .name = "foreign-queues",
       .detail = fmt::format("others read the packet queues {}; shunt takes other numbers",
                             fmt::join(numbers, ", ")),
       .fix = ""});
}

/// Only where a gateway may come to capture on a bridge.
void add_bridge_netfilter(std::vector<Finding>& out) {
  const auto links = list_links();
  if (!links) return;
  std::vector<std::string> names;
  for (const Link& link : *links) names.push_back(link.name);
  const auto bridged = bridge_netfilter_on(names, kernel_has_ipv6());
  if (!bridged) return;
  out.push_back({.state = State::note,
                 .name = std::string(bridged->name),
                 .detail = bridged->reason + ": there a gateway captures by REDIRECT",
                 .fix = bridged->fix});
}

void add_keep_source(std::vector<Finding>& out, const Features& features) {
  const Marks example{.mask = 0xff, .forwarded = 1, .own = 2, .egress = 3};
  const auto possible = check_leaving({.keep_source = true, .keep_port = false, .tables = {}},
                                      CaptureMethod::tproxy, features, example);
  out.push_back({.state = possible ? State::works : State::note,
                 .name = "keep-source",
                 .detail = possible ? "" : possible.error().message,
                 .fix = possible ? "" : possible.error().help});
}

void add_features(std::vector<Finding>& out, const Features& features) {
  const bool privileged = has_capability(CAP_NET_ADMIN);
  for (const Feature& feature : features.all) {
    // Only a gateway's TPROXY holds a TUN device, and a gateway needs root anyway: that an ordinary
    // user may not open /dev/net/tun is no lack.
    const bool tun = &feature == &features[FeatureId::tun_device] && !privileged;
    const bool holding =
        std::ranges::any_of(kHolding, [&](FeatureId id) { return &feature == &features[id]; });
    out.push_back({.state = state_of(feature, holding || tun),
                   .name = std::string(feature.name),
                   .detail = feature.reason,
                   .fix = feature.fix});
  }
  add_honest_connect(out, features);
  add_keep_source(out, features);
  add_bridge_netfilter(out);
}

void add_privilege(std::vector<Finding>& out) {
  if (has_capability(CAP_NET_ADMIN)) {
    out.push_back(
        {.state = State::works, .name = "privilege", .detail = "CAP_NET_ADMIN", .fix = ""});
    return;
  }
  out.push_back({.state = State::note,
                 .name = "privilege",
                 .detail = "without CAP_NET_ADMIN there is no gateway, and foreign rules cannot be "
                           "seen; `shunt run` needs none",
                 .fix = "sudo shunt doctor"});
}

std::optional<std::uint64_t> sysctl_number(std::string_view path) {
  const auto text = read_sysctl(path);
  if (!text) return std::nullopt;
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
  if (parsed.ec != std::errc()) return std::nullopt;
  return value;
}

void add_forwarding(std::vector<Finding>& out) {
  for (const char* path : {"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"}) {
    const auto value = sysctl_number(path);
    if (!value) continue;
    out.push_back({.state = State::works,
                   .name = sysctl_name(path),
                   .detail = *value != 0 ? "on" : "off; a gateway raises it while it runs",
                   .fix = ""});
  }
}

void add_reverse_path(std::vector<Finding>& out) {
  const auto valid_mark = sysctl_number("net/ipv4/conf/all/src_valid_mark");
  const auto filter = sysctl_number("net/ipv4/conf/all/rp_filter");
  if (!valid_mark || !filter) return;
  out.push_back({.state = State::works,
                 .name = "reverse-path",
                 .detail = fmt::format("src_valid_mark {}, rp_filter {}: both are allowed for",
                                       *valid_mark, *filter),
                 .fix = ""});
}

bool is_ours(std::string_view table) { return table.starts_with("shunt-"); }

void add_foreign_tables(std::vector<Finding>& out) {
  const auto tables = list_nft_tables();
  if (!tables) return;
  std::string names;
  for (const NftTableInfo& table : *tables) {
    if (is_ours(table.name)) continue;
    names += fmt::format("{}{} {}", names.empty() ? "" : ", ", table.family_name(), table.name);
  }
  if (!names.empty()) {
    out.push_back({.state = State::note,
                   .name = "foreign-tables",
                   .detail = names + "; shunt leaves them alone, they may drop what it forwards",
                   .fix = ""});
  }
  if (const auto masquerading = someone_masquerades()) {
    out.push_back({.state = *masquerading ? State::works : State::note,
                   .name = "masquerading",
                   .detail = *masquerading ? "somebody translates sources"
                                           : "nobody does: what a gateway does not capture leaves "
                                             "with private addresses",
                   .fix = *masquerading ? "" : "shunt gateway --masquerade, where needed"});
  }
}

/// What a dead instance left: rules tagged as ours, closed tables.
void add_leftovers(std::vector<Finding>& out) {
  const auto live = live_instances();
  const auto is_live = [&](auto matches) { return live && std::ranges::any_of(*live, matches); };
  std::string left;
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    const auto rules = list_rules(family);
    if (!rules) continue;
    for (const RuleSpec& rule : *rules) {
      const bool alive = is_live([&](const LiveInstance& one) { return uses_rule(one, rule); });
      if (rule.protocol == kRouteProtocol && !alive) left += fmt::format("\n{}", rule.text());
    }
  }
  if (const auto tables = list_nft_tables()) {
    for (const NftTableInfo& table : *tables) {
      const bool alive = is_live([&](const LiveInstance& one) {
        return one.allotment.table_name == table.name ||
               one.allotment.closed_table_name == table.name;
      });
      if (is_ours(table.name) && !table.has_owner && !alive) {
        left += fmt::format("\ntable {} {}", table.family_name(), table.name);
      }
    }
  }
  std::ranges::replace(left, '\n', ';');
  out.push_back({.state = left.empty() ? State::works : State::note,
                 .name = "left-overs",
                 .detail = left.empty() ? "none" : left.substr(1),
                 .fix = left.empty() ? "" : "sudo shunt down"});
}

void add_live_instances(std::vector<Finding>& out) {
  const auto live = live_instances();
  if (!live) return;
  for (const LiveInstance& one : *live) {
    out.push_back({.state = State::works,
                   .name = "running",
                   .detail = fmt::format("{} (pid {})", one.command, one.pid),
                   .fix = ""});
  }
}

void add_resolver(std::vector<Finding>& out) {
  std::ifstream file("/etc/resolv.conf");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string key;
    std::string value;
    fields >> key >> value;
    if (key != "nameserver") continue;
    const auto address = Address::parse(value.substr(0, value.find('%')));
    if (!address || !address->is_loopback()) continue;
    out.push_back({.state = State::works,
                   .name = "resolver",
                   .detail = fmt::format("{} on this machine: `run` reaches it; a gateway with "
                                         "--host captures what it asks others",
                                         value),
                   .fix = ""});
  }
}

void add_ports(std::vector<Finding>& out) {
  const auto text = read_sysctl("net/ipv4/ip_local_port_range");
  if (!text) return;
  std::istringstream fields(*text);
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  fields >> low >> high;
  const std::uint32_t count = high >= low ? high - low + 1 : 0;
  const bool few = count < kFewPorts;
  out.push_back({.state = few ? State::note : State::works,
                 .name = "port-range",
                 .detail = fmt::format("{} ports: that many connections at once to one destination "
                                       "address and port",
                                       count),
                 .fix = few ? "sysctl -w net.ipv4.ip_local_port_range='10240 65535'" : ""});
}

void add_backlog(std::vector<Finding>& out) {
  const auto backlog = sysctl_number("net/core/somaxconn");
  if (!backlog) return;
  const bool small = *backlog < limits::kListenBacklog;
  out.push_back(
      {.state = small ? State::note : State::works,
       .name = "backlog",
       .detail = fmt::format("somaxconn {}{}", *backlog,
                             small ? ": a burst of new connections may wait a second" : ""),
       .fix = small ? fmt::format("sysctl -w net.core.somaxconn={}", limits::kListenBacklog) : ""});
}

void add_descriptors(std::vector<Finding>& out) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const bool few = limit.rlim_max < kFewDescriptors;
  out.push_back(
      {.state = few ? State::note : State::works,
       .name = "descriptors",
       .detail = fmt::format("hard limit {}: room for about {} connections", limit.rlim_max,
                             limit.rlim_max / limits::kFdsPerFlow),
       .fix = few ? "ulimit -Hn 1048576, as root, before shunt (LimitNOFILE= in a unit)" : ""});
}

/// Each captured connection is two entries: the client's and the upstream's.
void add_connection_tracking(std::vector<Finding>& out) {
  const auto most = sysctl_number("net/netfilter/nf_conntrack_max");
  const auto now = sysctl_number("net/netfilter/nf_conntrack_count");
  if (!most || !now || *most == 0) return;
  const bool full = *now > *most / 10 * 8;
  out.push_back(
      {.state = full ? State::note : State::works,
       .name = "connection-tracking",
       .detail = fmt::format("{} of {} entries in use", *now, *most),
       .fix = full ? fmt::format("sysctl -w net.netfilter.nf_conntrack_max={}", *most * 4) : ""});
}

/// Only ways out with `toa` need it, so that it does not work is no lack.
void add_toa(std::vector<Finding>& out) {
  Finding finding{
      .state = State::works, .name = "toa", .detail = "the eBPF program loads", .fix = ""};
  if (const auto loaded = ToaProgram::probe(); !loaded) {
    finding.state = State::note;
    finding.detail = loaded.error().text();
    finding.fix = loaded.error().help;
  } else if (!own_cgroup_directory()) {
    finding.detail +=
        "; it is attached to shunt's own cgroup, such as a unit's, and this process is in none";
  }
  out.push_back(std::move(finding));
}

}  // namespace

std::vector<Finding> examine_host() {
  std::vector<Finding> out;
  add_privilege(out);
  const Features features = probe_features();
  add_features(out, features);
  add_program_checks(out, features);
  add_live_instances(out);
  add_leftovers(out);
  add_foreign_tables(out);
  add_foreign_queues(out);
  add_forwarding(out);
  add_reverse_path(out);
  add_resolver(out);
  add_ports(out);
  add_backlog(out);
  add_descriptors(out);
  add_connection_tracking(out);
  add_toa(out);
  return out;
}

}  // namespace shunt::cli
