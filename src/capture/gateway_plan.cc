// SPDX-License-Identifier: GPL-2.0-only
#include "capture/gateway_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/error_numbers.h"
#include "capture/redirect.h"
#include "capture/return_path.h"
#include "capture/tproxy.h"
#include "kernel/nft.h"
#include "kernel/packet_queue.h"
#include "kernel/sysctl.h"
#include "net/socket.h"

namespace shunt {
namespace {

// linux/ipv6_route.h
constexpr std::uint32_t kRtfDefault = 0x00010000;   // learnt through neighbour discovery
constexpr std::uint32_t kRtfAddrconf = 0x00040000;  // from a router advertisement

/// What TPROXY needs, in the order in which a lack is worth naming.
constexpr std::array kTproxyNeeds = {FeatureId::nft_owner_table, FeatureId::tproxy_ipv4,
                                     FeatureId::tun_device,      FeatureId::policy_routing,
                                     FeatureId::fib_expression,  FeatureId::socket_expression,
                                     FeatureId::connection_mark, FeatureId::transparent_socket};
constexpr std::array kRedirectNeeds = {FeatureId::nft_owner_table, FeatureId::redirect_ipv4,
                                       FeatureId::fib_expression, FeatureId::connection_mark};

constexpr std::array kReturnPathNeeds = {
    FeatureId::tun_device,        FeatureId::policy_routing,  FeatureId::transparent_socket,
    FeatureId::socket_expression, FeatureId::connection_mark, FeatureId::nft_owner_table};

template <std::size_t N>
const Feature* first_lacking(const std::array<FeatureId, N>& needs, FeatureId for_ipv6,
                             const Features& features, bool ipv6) {
  for (const FeatureId id : needs) {
    if (!features[id].available) return &features[id];
  }
  if (ipv6 && !features[for_ipv6].available) return &features[for_ipv6];
  return nullptr;
}

std::string lack_text(const Feature& feature) {
  return fmt::format("{}: {}", feature.name, feature.reason);
}

/// What holding lacks; "": nothing.
std::string hold_lack(const Features& features) {
  for (const FeatureId id :
       {FeatureId::packet_queue, FeatureId::early_reject, FeatureId::connection_mark}) {
    if (!features[id].available) return lack_text(features[id]);
  }
  const bool rules = features[FeatureId::queue_expression].available ||
                     features[FeatureId::queue_target].available;
  return rules ? "" : lack_text(features[FeatureId::queue_target]);
}

/// Interfaces whose default route came by router advertisement. The kernel drops such routes, and
/// hears no more advertisements, when IPv6 forwarding goes on and accept_ra is 1
/// (rt6_purge_dflt_routers(), ip-sysctl.rst: "2: accept even if forwarding is enabled").
std::vector<std::string> advertised_uplinks() {
  std::vector<std::string> names;
  std::ifstream routes("/proc/thread-self/net/ipv6_route");
  std::string line;
  while (std::getline(routes, line)) {
    std::istringstream fields(line);
    std::string skipped;
    std::string flags_text;
    std::string name;
    for (int i = 0; i < 8; ++i) fields >> skipped;
    fields >> flags_text >> name;
    const auto flags = std::strtoul(flags_text.c_str(), nullptr, 16);
    if ((flags & kRtfDefault) != 0 && (flags & kRtfAddrconf) != 0) names.push_back(name);
  }
  return names;
}

bool reads(const std::string& path, std::string_view value) {
  const auto now = read_sysctl(path);
  return now && *now == value;
}

std::vector<SysctlChange> forwarding_sysctls(bool ipv6) {
  std::vector<SysctlChange> changes;
  if (reads("net/ipv4/ip_forward", "0")) changes.push_back({"net/ipv4/ip_forward", "1"});
  if (!ipv6 || !reads("net/ipv6/conf/all/forwarding", "0")) return changes;
  for (const std::string& name : advertised_uplinks()) {
    const std::string path = fmt::format("net/ipv6/conf/{}/accept_ra", name);
    if (reads(path, "1")) changes.push_back({path, "2"});
  }
  changes.push_back({"net/ipv6/conf/all/forwarding", "1"});
  return changes;
}

CaptureSpec capture_spec(const GatewayOptions& options, const Marks& marks, std::uint16_t port,
                         bool ipv6, const std::optional<HoldSpec>& hold) {
  return {.interfaces = options.interfaces,
          .host = options.host,
          .loopback = options.loopback,
          .own_dns = options.own_dns,
          .masquerade = options.masquerade,
          .notrack = options.notrack && !options.interfaces.empty(),
          .keep_source = options.leaving.keep_source,
          .exclusions = options.exclusions,
          .kernel_rules = options.kernel_rules,
          .marks = marks,
          .port = port,
          .udp_listeners = options.udp_listeners(),
          .hold = options.captures() ? hold : std::nullopt,
          .ipv6 = ipv6};
}

}  // namespace

MethodChoice method_choice(std::string_view word) {
  if (word == "tproxy") return MethodChoice::tproxy;
  if (word == "redirect") return MethodChoice::redirect;
  return MethodChoice::automatic;
}

bool kernel_has_ipv6() { return make_socket(Family::ipv6, SocketType::stream).has_value(); }

Result<MethodDecision> decide_method(MethodChoice choice, const Features& features, bool ipv6,
                                     const std::optional<Feature>& bridged) {
  const Feature* no_tproxy = first_lacking(kTproxyNeeds, FeatureId::tproxy_ipv6, features, ipv6);
  if (no_tproxy == nullptr && bridged) no_tproxy = &*bridged;
  const Feature* no_redirect =
      first_lacking(kRedirectNeeds, FeatureId::redirect_ipv6, features, ipv6);
  if (choice != MethodChoice::redirect && no_tproxy == nullptr) {
    return MethodDecision{.method = CaptureMethod::tproxy, .why_not_tproxy = {}};
  }
  if (choice != MethodChoice::tproxy && no_redirect == nullptr) {
    return MethodDecision{
        .method = CaptureMethod::redirect,
        .why_not_tproxy = choice == MethodChoice::redirect ? "" : lack_text(*no_tproxy)};
  }
  const Feature& lack = choice == MethodChoice::redirect ? *no_redirect : *no_tproxy;
  return Failure(make_error(
      Kind::unsupported, error_number::kNoTproxy,
      fmt::format("{} does not work here: {}",
                  choice == MethodChoice::redirect ? "REDIRECT" : "TPROXY", lack_text(lack)),
      lack.fix.empty() ? "shunt doctor" : lack.fix));
}

LeavingOptions LeavingOptions::with(const LeavingOptions& others) const {
  LeavingOptions both = *this;
  both.keep_source = keep_source || others.keep_source;
  both.keep_port = keep_port || others.keep_port;
  for (const std::uint32_t table : others.tables) {
    if (std::ranges::find(tables, table) == tables.end()) both.tables.push_back(table);
  }
  return both;
}

Result<void> check_leaving(const LeavingOptions& leaving, CaptureMethod method,
                           const Features& features, const Marks& marks) {
  if (!leaving.keep_source) return {};
  for (const FeatureId id : kReturnPathNeeds) {
    if (features[id].available) continue;
    return Failure(make_error(
        Kind::unsupported, error_number::kNoReturnPath,
        fmt::format("keep-source: answers to a client's address cannot be brought back here: {}",
                    lack_text(features[id])),
        features[id].fix.empty() ? "shunt doctor" : features[id].fix));
  }
  if (marks.kept() == 0) {
    return Failure(make_error(Kind::conflict, error_number::kNoReturnPath,
                              "keep-source needs three neighbouring free bits of the packet mark",
                              "nft list ruleset, ip rule: who uses masks so wide?"));
  }
  if (!leaving.keep_port || method == CaptureMethod::tproxy) return {};
  // Both legs would have one conntrack entry, and its translation would lead the second to shunt.
  return Failure(make_error(Kind::unsupported, error_number::kKeptPort,
                            "keep-source = \"port\" works only where TPROXY captures, and here "
                            "REDIRECT does",
                            "keep-source = true keeps the address alone"));
}

Result<HoldDecision> decide_hold(const GatewayOptions& options, CaptureMethod method,
                                 const Features* features, const Marks& marks) {
  if (!options.captures() || options.connect == ConnectMode::early) return HoldDecision{};
  const HoldMarks hold_marks = marks.hold();
  const auto first = free_queues(hold_marks.most_workers);
  std::string why_not;
  if (method != CaptureMethod::tproxy) {
    why_not = "REDIRECT cannot hold them";
  } else if (!hold_marks.exist()) {
    why_not = "that takes four neighbouring free bits of the packet mark";
  } else if (!first) {
    why_not = first.error().text();
  } else if (features != nullptr) {
    why_not = hold_lack(*features);
  }
  if (why_not.empty()) {
    const bool target = features != nullptr && !(*features)[FeatureId::queue_expression].available;
    return HoldDecision{
        .spec = HoldSpec{.marks = hold_marks,
                         .first_queue = *first,
                         .queues = std::min(options.workers, hold_marks.most_workers),
                         .by_target = target},
        .why_not = {}};
  }
  if (options.connect == ConnectMode::automatic)
    return HoldDecision{.spec = {}, .why_not = why_not};
  return Failure(
      make_error(Kind::unsupported, error_number::kNotHonest,
                 fmt::format("clients cannot be held until their server has answered: {}", why_not),
                 "shunt doctor      (without `connect` they are let in first where that is so)"));
}

std::string record_of(const GatewayOptions& options) {
  std::string text = options.serves ? "serve" : "gateway";
  for (const std::string& name : options.interfaces) text += " -i " + name;
  return options.host ? text + " --host" : text;
}

Result<void> check_others(const GatewayOptions& options, const std::vector<LiveInstance>& running) {
  for (const LiveInstance& other : running) {
    const std::string theirs = other.command + " ";
    if (!theirs.starts_with("gateway ") && !theirs.starts_with("serve ")) continue;
    std::string same;
    for (const std::string& name : options.interfaces) {
      if (theirs.contains(fmt::format(" -i {} ", name))) same = name;
    }
    if (options.host && theirs.contains(" --host ")) same = "this machine's own traffic";
    if (same.empty()) continue;
    return Failure(make_error(
        Kind::conflict, error_number::kAlreadyRunning,
        fmt::format("{} is captured already, by `shunt {}` (pid {})", same,
                    theirs.starts_with("serve ") ? "serve" : other.command, other.pid),
        fmt::format("kill {}      (it stops in order; then start this one)", other.pid)));
  }
  return {};
}

GatewayPlan plan_gateway(const GatewayOptions& options, CaptureMethod method,
                         const Allotment& allotment, std::uint16_t port, bool ipv6,
                         const TableMarks& table_marks, const std::optional<HoldSpec>& hold) {
  GatewayPlan plan;
  plan.method = method;
  plan.spec = capture_spec(options, allotment.marks, port, ipv6, hold);
  if (!options.changes_kernel()) return plan;
  if (!options.interfaces.empty()) plan.sysctls = forwarding_sysctls(ipv6);
  plan.table_name = allotment.table_name;
  plan.closed_table_name = allotment.closed_table_name;
  const bool tproxy = options.captures() && method == CaptureMethod::tproxy;
  if (options.captures()) {
    plan.table_body = tproxy ? tproxy::ruleset(plan.spec) : redirect::ruleset(plan.spec);
  }
  plan.table_body += return_path::chains(plan.spec);
  if (options.closed && options.captures()) {
    plan.closed_table_body =
        tproxy ? tproxy::closed_ruleset(plan.spec) : redirect::closed_ruleset(plan.spec);
  }
  if (tproxy || plan.spec.keep_source) {
    plan.device = fmt::format("shunt{}", allotment.number);
    plan.routes = tproxy::routes(plan.spec, plan.device, allotment.route_table);
  }
  if (tproxy) {
    plan.rules = tproxy::rules(plan.spec, allotment.first_priority, allotment.route_table);
  }
  const std::vector<Family> families = plan.spec.families();
  const std::uint32_t first = allotment.first_priority;
  std::ranges::move(return_path::rules(plan.spec, families, first + Allotment::kReturnPriority,
                                       allotment.route_table),
                    std::back_inserter(plan.rules));
  std::ranges::move(
      table_marks.rules(options.leaving.tables, families, first + Allotment::kTablePriority),
      std::back_inserter(plan.rules));
  return plan;
}

std::string GatewayPlan::text() const {
  if (table_name.empty()) return {};
  std::string out;
  for (const auto& [path, value] : sysctls) {
    out += fmt::format("sysctl -w {}={}\n", sysctl_name(path), value);
  }
  if (!device.empty()) {
    out += fmt::format("ip tuntap add dev {0} mode tun\nip link set {0} up\n", device);
  }
  for (const RouteSpec& route : routes) out += route.text() + "\n";
  for (const RuleSpec& rule : rules) out += rule.text() + "\n";
  if (!closed_table_body.empty()) {
    out += nft_table_text(closed_table_name, closed_table_body, TableLifetime::persistent);
  }
  out += nft_table_text(table_name, table_body, TableLifetime::owned);
  if (!spec.hold) return out;
  for (const std::string& rule : hold::described_rules(*spec.hold)) {
    out +=
        fmt::format("# the target NFQUEUE of iptables, which nft has no text for, in {}\n", rule);
  }
  return out;
}

}  // namespace shunt
