// SPDX-License-Identifier: GPL-2.0-only
// What `shunt serve` runs: the capture, the proxy and the rules of one configuration file, and how
// another state of the file takes their place.
//
// A reload parses, checks and makes everything new before it touches anything; then the kernel's
// rules change in one transaction and the proxy's policy with one pointer. A flow that is being
// carried keeps the verdict that it has. Whatever goes wrong on the way, the old state stays.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capture/gateway_capture.h"
#include "capture/host_processes.h"
#include "cli/gateway_request.h"
#include "cli/least_privilege.h"
#include "cli/proxy_setup.h"
#include "cli/rules_report.h"
#include "config/config.h"
#include "control/message.h"
#include "egress/health_checker.h"
#include "egress/way_out_spec.h"
#include "kernel/table_marks.h"
#include "proxy/dns_service.h"
#include "proxy/proxy.h"

namespace shunt::cli {

class Service {
 public:
  static constexpr int kLookMs = 2000;  ///< how often list files are looked at

  /// Takes an instance, opens the listeners and gives up what privileges are not needed any more;
  /// nothing is captured yet. Before any other thread is started.
  static Result<std::unique_ptr<Service>> create(CheckedConfig checked);
  ~Service();

  /// From here on traffic is captured and carried. Yields what could not be done and is not
  /// essential.
  Result<std::vector<std::string>> install();
  /// Reads the file again. On success a line on what is new.
  std::expected<std::string, Mistakes> reload(Proxy::LiveFlows live);
  /// Reads the rules' lists and databases again where one of their files has changed. A file that
  /// is bad is logged once, and the old rules stay.
  void look_at_files();
  /// Takes kernel state back that only flows of earlier configurations went by, once the last of
  /// them is over.
  void forget_earlier_ways_out();

  [[nodiscard]] GatewayCapture& capture() { return *capture_; }
  /// After install().
  [[nodiscard]] Proxy& proxy() { return *proxy_; }
  [[nodiscard]] TrafficLog* traffic_log() const { return traffic_.log.get(); }
  [[nodiscard]] const GatewayRequest& request() const { return request_; }
  [[nodiscard]] std::uint32_t drain_timeout_ms() const {
    return checked_.config.limits.drain_timeout_ms;
  }
  /// What the present configuration does that nobody may have meant, a line each.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
  /// Of the rules as they are now, [0] is the default's. Reads the kernel's counters.
  [[nodiscard]] Result<std::vector<RuleHits>> rule_hits() const;
  [[nodiscard]] const Ruleset& rules() const { return *checked_.rules; }
  /// Another number after each change of the rules.
  [[nodiscard]] std::uint64_t rules_state() const { return traffic_.policy->serial(); }
  /// "12 rules, 2 ways out".
  [[nodiscard]] std::string text() const;

 private:
  Service(CheckedConfig checked, GatewayRequest request);
  Result<void> prepare();
  /// What install() starts the proxy with.
  [[nodiscard]] Result<ProxyOptions> proxy_options();
  /// The ways out of a configuration, and the rules that lead to them. Starts no thread.
  struct Made {
    WaysOut ways_out;
    std::shared_ptr<const Policy> policy;
  };
  [[nodiscard]] Result<Made> make(const CheckedConfig& checked) const;
  std::expected<void, Mistakes> apply(CheckedConfig checked, Proxy::LiveFlows live);
  /// The same, where the names in it are looked up as they are in DNS.
  std::expected<void, Mistakes> apply_by_real_names(CheckedConfig checked, Proxy::LiveFlows live);
  /// No fake addresses for the names that shunt itself looks up for these.
  void keep_names_real(std::initializer_list<const Config*> configs);
  void warn_of_change(const Error& error);
  /// New rules for the ways out that there are: with their groups' health and names' addresses.
  std::expected<void, Mistakes> apply_lists(CheckedConfig checked);
  std::expected<void, Mistakes> replace_policy(const CheckedConfig& checked,
                                               std::shared_ptr<const Policy> policy,
                                               Proxy::LiveFlows live);
  Result<void> replace_kernel_rules(const CheckedConfig& checked);
  [[nodiscard]] std::vector<std::string> look_for_oddities() const;
  /// Bits of the packet mark that a way out's `mark` may not use, now and beside `tables`.
  [[nodiscard]] std::uint32_t own_mark_bits() const;
  [[nodiscard]] std::uint32_t own_mark_bits(const TableMarks& tables) const;
  /// What stat(2) says of the files that the rules were read from.
  [[nodiscard]] std::string look() const;

  CheckedConfig checked_;
  GatewayRequest request_;
  std::unique_ptr<GatewayCapture> capture_;
  std::unique_ptr<HostProcesses> processes_;
  TrafficSetup traffic_;
  WaysOut ways_out_;
  KeptPrivileges kept_;
  std::vector<std::string> warnings_;
  std::unique_ptr<HealthChecker> checker_;
  ProxyOptions options_;  // of the proxy, until that is started
  std::unique_ptr<Proxy> proxy_;
  std::vector<std::int64_t> kernel_base_;  // what is to be added to the kernel's counters, by rule
  std::string refused_files_;              // what look() said of a state of the lists that was bad
  std::vector<std::weak_ptr<const Policy>> earlier_policies_;  // that flows may still hold
  bool may_retire_ = false;   // what only ways out of earlier configurations need is still there
  std::string last_trouble_;  // of the kernel's rules: said once, and tried again and again
  std::shared_ptr<const DnsSettings> dns_;  // null: mode "system"
};

}  // namespace shunt::cli
