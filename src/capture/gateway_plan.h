// SPDX-License-Identifier: GPL-2.0-only
// Everything that a gateway changes on this machine, as a value: GatewayCapture applies it and
// `shunt plan` prints it, so neither can say what the other does not do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capture/capture_spec.h"
#include "flow/admission.h"
#include "flow/flow.h"
#include "kernel/features.h"
#include "kernel/instance.h"
#include "kernel/policy_route.h"
#include "kernel/table_marks.h"

namespace shunt {

enum class MethodChoice : std::uint8_t { automatic, tproxy, redirect };
/// Of "tproxy" or "redirect"; automatic for every other word.
[[nodiscard]] MethodChoice method_choice(std::string_view word);

/// What ways out need of the kernel; changes with a reload.
struct LeavingOptions {
  bool keep_source = false;                ///< some way out keeps clients' addresses
  bool keep_port = false;                  ///< and their ports
  std::vector<std::uint32_t> tables = {};  ///< that ways out name, each once
  [[nodiscard]] bool any() const { return keep_source || !tables.empty(); }
  /// What is needed by these and `others` together.
  [[nodiscard]] LeavingOptions with(const LeavingOptions& others) const;
  bool operator==(const LeavingOptions&) const = default;
};

struct GatewayOptions {
  bool serves = false;  ///< for `shunt serve`: part of what others know the capture by
  std::vector<std::string> interfaces;  ///< of the LAN; see lan_interfaces.h
  bool host = false;
  bool loopback = false;  ///< only with host
  bool own_dns = false;   ///< the same; see CaptureSpec
  bool masquerade = false;
  bool closed = false;   ///< on-exit
  bool notrack = false;  ///< forwarded TCP that is captured is not tracked (capture/notrack.h)
  MethodChoice method = MethodChoice::automatic;
  ConnectMode connect = ConnectMode::automatic;  ///< honest: an error where that cannot be had
  std::vector<Exclusion> exclusions;
  std::vector<KernelDecision> kernel_rules = {};  ///< see CaptureSpec
  LeavingOptions leaving = {};
  unsigned workers = 1;
  bool shares_udp = true;      ///< see shares_udp() in capture/ruleset_text.h
  bool mark_upstreams = true;  ///< false only to test the other guards against loops

  [[nodiscard]] unsigned udp_listeners() const { return shares_udp ? workers : 1; }
  /// False for a `shunt serve` that has plain listeners alone.
  [[nodiscard]] bool captures() const { return host || !interfaces.empty(); }
  /// Ways out need kernel state for what plain listeners take, too.
  [[nodiscard]] bool changes_kernel() const { return captures() || leaving.any(); }
};

struct MethodDecision {
  CaptureMethod method = CaptureMethod::tproxy;
  std::string why_not_tproxy;  ///< "" when it is, or when REDIRECT was asked for
};

/// Kind::unsupported when what was asked for, or everything, does not work here. `bridged` is
/// bridge_netfilter_on() of the interfaces. Pure.
Result<MethodDecision> decide_method(MethodChoice choice, const Features& features, bool ipv6,
                                     const std::optional<Feature>& bridged);

struct HoldDecision {
  std::optional<HoldSpec> spec;
  std::string why_not;  ///< "" where it is, or where nobody wants it
};

/// S061 where what was asked for cannot be had. Without `features` (no privilege to try) what shunt
/// would try first. Looks for queues that are free.
Result<HoldDecision> decide_hold(const GatewayOptions& options, CaptureMethod method,
                                 const Features* features, const Marks& marks);

struct SysctlChange {
  std::string path;  ///< as in kernel/sysctl.h
  std::string value;
  bool operator==(const SysctlChange&) const = default;
};

struct GatewayPlan {
  CaptureMethod method = CaptureMethod::tproxy;
  CaptureSpec spec;
  std::vector<SysctlChange> sysctls;  ///< only those that have another value now
  std::string device;  ///< TUN; "" with REDIRECT and without keep-source, and then no routes
  std::vector<RouteSpec> routes;
  std::vector<RuleSpec> rules;
  std::string table_name;
  std::string table_body;
  std::string closed_table_name;
  std::string closed_table_body;  ///< "" with on-exit = open

  /// In the order in which it is applied, each line as the tool of its kind would take it.
  [[nodiscard]] std::string text() const;
};

/// Why keep-source cannot be had here (S050, S052), if so. Pure.
Result<void> check_leaving(const LeavingOptions& leaving, CaptureMethod method,
                           const Features& features, const Marks& marks);

/// Pure but for reading sysctls. `table_marks` has a mark for each table that a way out names.
GatewayPlan plan_gateway(const GatewayOptions& options, CaptureMethod method,
                         const Allotment& allotment, std::uint16_t port, bool ipv6,
                         const TableMarks& table_marks = {},
                         const std::optional<HoldSpec>& hold = {});

/// What the capture is known by to other instances: "gateway -i br-lan --host".
std::string record_of(const GatewayOptions& options);
/// Kind::conflict when one of `running` captures some of the same traffic. Pure.
Result<void> check_others(const GatewayOptions& options, const std::vector<LiveInstance>& running);

/// Whether this kernel has IPv6 at all.
bool kernel_has_ipv6();

}  // namespace shunt
