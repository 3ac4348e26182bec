// SPDX-License-Identifier: GPL-2.0-only
// The capture of a gateway: LAN and own traffic, by TPROXY or REDIRECT, in the network namespace of
// the calling thread. Made in two steps, so that the proxy runs before the first packet is taken:
//
//   create()   takes an instance number, chooses the method, opens the listeners
//   install()  sysctls, device, routes, rules, tables: from here on traffic is captured
//
// and undone in two, so that live flows can end by themselves:
//
//   let_new_flows_pass()   (with on-exit = closed they are dropped instead)
//   ~GatewayCapture()      tables, rules, routes, device, sysctls, in this order
//
// All calls from one thread (kernel/nft.h, kernel/rule_guard.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "capture/gateway_plan.h"
#include "capture/listeners.h"

namespace shunt {

class GatewayCapture {
 public:
  /// Probes the kernel, which forks: before any thread is started. Needs CAP_NET_ADMIN.
  static Result<GatewayCapture> create(const GatewayOptions& options);
  GatewayCapture(GatewayCapture&&) noexcept;
  GatewayCapture& operator=(GatewayCapture&&) noexcept;
  ~GatewayCapture();

  [[nodiscard]] const MethodDecision& method() const;
  /// Why clients are let in before their server has answered; "": they are held, or early
  /// was asked for.
  [[nodiscard]] const std::string& why_not_held() const;
  [[nodiscard]] const GatewayPlan& plan() const;
  /// For the proxy, once.
  [[nodiscard]] std::vector<ListenerSet> take_listeners();
  [[nodiscard]] const std::vector<Endpoint>& own_listeners() const;
  /// Null where UDP is not captured.
  [[nodiscard]] std::shared_ptr<ReplySockets> reply_sockets() const;
  /// For upstream sockets; 0 where they are to go unmarked.
  [[nodiscard]] std::uint32_t egress_mark() const;
  /// For those that bear a client's address instead.
  [[nodiscard]] std::uint32_t kept_source_mark() const;
  /// The marks for sockets that lead to tables of ways out.
  [[nodiscard]] const TableMarks& table_marks() const;
  /// What those will be once replace_rules() has led rules to `tables` as well. Changes nothing.
  [[nodiscard]] Result<TableMarks> marks_with(const std::vector<std::uint32_t>& tables) const;

  /// All or nothing. Yields what could not be done and is not essential (a sysctl), one line each.
  Result<std::vector<std::string>> install();
  /// Readable when restore_deleted() has something to look at; -1 before install().
  [[nodiscard]] int guard_fd() const;
  /// Puts back rules, routes and the device where others deleted them.
  void restore_deleted();
  Result<void> let_new_flows_pass();
  /// What a reload may change of the same capture, from one packet to the next. On failure the old
  /// state stays. False: the table is as it was, and kernel_hits() go on.
  struct Replacement {
    std::vector<Exclusion> exclusions = {};
    std::vector<KernelDecision> kernel_rules = {};
    bool own_dns = false;
    LeavingOptions leaving = {};
  };
  Result<bool> replace_rules(Replacement replacement);
  /// What only ways out of earlier configurations need stays until this is called: live flows may
  /// go by them. False as above.
  Result<bool> retire_earlier_leaving();
  /// How many flows each rule of GatewayOptions::kernel_rules that leaves let go, by its number,
  /// since the rules were put in place. Empty before install().
  [[nodiscard]] Result<std::map<std::uint32_t, std::uint64_t>> kernel_hits() const;
  /// Where this instance's control socket belongs.
  [[nodiscard]] std::string control_socket() const;

 private:
  struct State;
  explicit GatewayCapture(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace shunt
