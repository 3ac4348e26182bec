// SPDX-License-Identifier: GPL-2.0-only
#include "capture/gateway_capture.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "capture/reply_sockets.h"
#include "capture/ruleset_text.h"
#include "kernel/capabilities.h"
#include "kernel/conntrack.h"
#include "kernel/nft.h"
#include "kernel/nft_counters.h"
#include "kernel/rule_guard.h"
#include "kernel/tun.h"

namespace shunt {

// Destroyed from the last member to the first: what sends traffic our way goes before what it
// arrives at, routing rules before the routes that they lead to, the record at last.
struct GatewayCapture::State {
  State(GatewayOptions the_options, Instance the_instance)
      : options(std::move(the_options)), instance(std::move(the_instance)) {}
  ~State();

  GatewayOptions options;
  Instance instance;
  MethodDecision method;
  Listeners listeners;
  GatewayPlan plan;
  std::optional<TunDevice> tun;
  std::vector<PolicyRoute> routes;
  std::vector<PolicyRule> rules;
  std::optional<NftTable> closed_table;
  std::optional<NftTable> table;
  std::optional<RuleGuard> guard;

  Result<std::vector<std::string>> raise_sysctls();
  Result<void> install_routing();
  Result<void> install_tables();
  void forget_captured() const;
};

GatewayCapture::GatewayCapture(std::unique_ptr<State> state) : state_(std::move(state)) {}
GatewayCapture::GatewayCapture(GatewayCapture&&) noexcept = default;
GatewayCapture& GatewayCapture::operator=(GatewayCapture&&) noexcept = default;
GatewayCapture::~GatewayCapture() = default;

Result<GatewayCapture> GatewayCapture::create(const GatewayOptions& options) {
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "capturing a LAN or this machine's traffic"));
  const bool ipv6 = kernel_has_ipv6();
  MethodDecision method;
  if (options.captures()) {
    method = SHUNT_TRY(decide_method(options.method, probe_features(), ipv6));
  }
  auto instance = SHUNT_TRY(Instance::create(
      record_of(options), [&](const auto& running) { return check_others(options, running); }));
  auto state = std::make_unique<State>(options, std::move(instance));
  state->method = std::move(method);
  const Allotment& allotment = state->instance.allotment();
  if (options.captures()) {
    state->listeners = SHUNT_TRY(make_listeners({.method = state->method.method,
                                                 .workers = options.workers,
                                                 .mark = allotment.marks.egress,
                                                 .udp = true}));
  } else {
    state->listeners.workers.resize(options.workers);
  }
  state->plan = plan_gateway(options, state->method.method, allotment, state->listeners.port,
                             state->listeners.ipv6);
  return GatewayCapture(std::move(state));
}

const MethodDecision& GatewayCapture::method() const { return state_->method; }
const GatewayPlan& GatewayCapture::plan() const { return state_->plan; }

std::vector<ListenerSet> GatewayCapture::take_listeners() {
  return std::exchange(state_->listeners.workers, {});
}

const std::vector<Endpoint>& GatewayCapture::own_listeners() const { return state_->listeners.own; }

std::shared_ptr<ReplySockets> GatewayCapture::reply_sockets() const {
  if (!state_->options.captures() || state_->method.method != CaptureMethod::tproxy) return nullptr;
  return local_reply_sockets(state_->plan.spec.marks.egress);
}

std::uint32_t GatewayCapture::egress_mark() const {
  return state_->options.mark_upstreams ? state_->plan.spec.marks.egress : 0;
}

/// Captured traffic needs no forwarding, so a sysctl that cannot be raised (a container with a
/// read-only /proc/sys) costs only what is not captured.
Result<std::vector<std::string>> GatewayCapture::State::raise_sysctls() {
  std::vector<std::string> problems;
  for (const auto& [path, value] : plan.sysctls) {
    if (const auto raised = instance.raise_sysctl(path, value); !raised) {
      problems.push_back(
          fmt::format("{}; what is not captured may not be forwarded", raised.error().text()));
    }
  }
  return problems;
}

Result<void> GatewayCapture::State::install_routing() {
  if (plan.device.empty()) return {};
  tun = SHUNT_TRY(TunDevice::create(plan.device));
  for (const RouteSpec& route : plan.routes) {
    routes.push_back(SHUNT_TRY(PolicyRoute::create(route)));
  }
  for (const RuleSpec& rule : plan.rules) rules.push_back(SHUNT_TRY(PolicyRule::create(rule)));
  return {};
}

/// The closed table first: if shunt dies between the two, the traffic is blocked and not let go.
Result<void> GatewayCapture::State::install_tables() {
  if (!plan.closed_table_body.empty()) {
    closed_table = SHUNT_TRY(NftTable::create(plan.closed_table_name, plan.closed_table_body,
                                              TableLifetime::persistent));
  }
  table = SHUNT_TRY(NftTable::create(plan.table_name, plan.table_body));
  return {};
}

/// What still bears our marks was captured by an instance that is dead, or by this one before it
/// stopped. Not essential (a kernel without nf_conntrack_netlink cannot do it): entries time out.
void GatewayCapture::State::forget_captured() const {
  if (plan.spec.marks.mask == 0) return;  // never got as far as a plan
  for (const std::uint32_t mark : {plan.spec.marks.forwarded, plan.spec.marks.own}) {
    (void)forget_connections(mark, plan.spec.marks.mask);
  }
}

/// The captured connections are forgotten when no rule can mark them again.
GatewayCapture::State::~State() {
  guard.reset();
  table.reset();
  closed_table.reset();
  forget_captured();
}

Result<std::vector<std::string>> GatewayCapture::install() {
  State& state = *state_;
  if (!state.options.captures()) return std::vector<std::string>{};
  auto problems = SHUNT_TRY(state.raise_sysctls());
  state.forget_captured();
  SHUNT_CHECK(state.install_routing());
  SHUNT_CHECK(state.install_tables());
  state.guard = SHUNT_TRY(RuleGuard::create({.routes = state.plan.routes,
                                             .rules = state.plan.rules,
                                             .tun = state.tun ? &*state.tun : nullptr}));
  for (std::string& problem : state.instance.sweep_closed_tables().problems) {
    problems.push_back(std::move(problem));
  }
  return problems;
}

int GatewayCapture::guard_fd() const {
  const auto& guard = state_->guard;
  return guard ? guard->fd() : -1;
}

void GatewayCapture::restore_deleted() {
  if (auto& guard = state_->guard) guard->handle();
}

Result<void> GatewayCapture::let_new_flows_pass() {
  auto& table = state_->table;
  if (!table) return {};
  std::string commands;
  const auto flush = [&commands, name = table->name()](std::string_view chain) {
    commands += fmt::format("flush chain inet {} {}\n", name, chain);
  };
  const bool datagrams = state_->method.method == CaptureMethod::tproxy;
  if (!state_->plan.spec.interfaces.empty()) {
    flush(kNewForwarded);
    if (datagrams) flush(kDatagramForwarded);
  }
  if (state_->plan.spec.host) {
    flush(kNewOwn);
    if (datagrams) flush(kDatagramOwn);
  }
  if (const auto done = table->run(commands); !done) return Failure(done.error());
  return {};
}

std::string GatewayCapture::control_socket() const { return state_->instance.control_socket(); }

/// The closed table first, as at the start: what is blocked without shunt is never less than what
/// shunt captures.
Result<bool> GatewayCapture::replace_rules(std::vector<Exclusion> exclusions,
                                           std::vector<KernelDecision> kernel_rules) {
  State& state = *state_;
  GatewayOptions options = state.options;
  options.exclusions = std::move(exclusions);
  options.kernel_rules = std::move(kernel_rules);
  GatewayPlan plan = plan_gateway(options, state.method.method, state.instance.allotment(),
                                  state.plan.spec.port, state.plan.spec.ipv6);
  const bool same_closed = plan.closed_table_body == state.plan.closed_table_body;
  if (auto& closed = state.closed_table; closed && !same_closed) {
    SHUNT_CHECK(closed->replace(plan.closed_table_body));
  }
  const bool same = plan.table_body == state.plan.table_body;
  if (auto& table = state.table; table && !same) {
    if (auto replaced = table->replace(plan.table_body); !replaced) {
      if (auto& closed = state.closed_table; closed && !same_closed) {
        (void)closed->replace(state.plan.closed_table_body);
      }
      return Failure(std::move(replaced).error());
    }
  }
  plan.sysctls = std::move(state.plan.sysctls);  // raised by now, so none would be left to plan
  state.plan = std::move(plan);
  state.options = std::move(options);
  return !same;
}

Result<std::map<std::uint32_t, std::uint64_t>> GatewayCapture::kernel_hits() const {
  std::map<std::uint32_t, std::uint64_t> hits;
  const auto& table = state_->table;
  if (!table) return hits;
  for (const NftCounter& counter : SHUNT_TRY(list_nft_counters(table->name()))) {
    const std::string_view name = counter.name;
    if (!name.starts_with(kRuleCounter)) continue;
    const std::string_view digits = name.substr(kRuleCounter.size());
    std::uint32_t rule = 0;
    const auto parsed = std::from_chars(digits.begin(), digits.end(), rule);
    if (parsed.ec == std::errc() && parsed.ptr == digits.end()) hits[rule] = counter.packets;
  }
  return hits;
}

}  // namespace shunt
