// SPDX-License-Identifier: GPL-2.0-only
#include "capture/gateway_capture.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "base/log.h"
#include "capture/bridge_netfilter.h"
#include "capture/notrack.h"
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
  LeavingOptions leaving_wanted = options.leaving;  // options.leaving may hold earlier ones beside
  Instance instance;
  Features features;
  MethodDecision method;
  HoldDecision hold;
  TableMarks table_marks;
  Listeners listeners;
  GatewayPlan plan;
  std::optional<TunDevice> tun;
  std::vector<PolicyRoute> routes;
  std::vector<PolicyRule> rules;
  std::optional<NftTable> closed_table;
  std::optional<NftTable> table;
  bool installed = false;  ///< the tables were, once
  std::optional<RuleGuard> guard;

  void settle_udp();
  Result<std::vector<std::string>> raise_sysctls();
  Result<void> install_routing(const GatewayPlan& wanted);
  void drop_rules_beyond(const GatewayPlan& wanted);
  [[nodiscard]] RuleGuard::Guarded guarded();
  Result<void> bind_queues();
  Result<void> install_tables();
  Result<void> complete_table();
  Result<void> replace_tables(const GatewayPlan& wanted);
  Result<void> install_change(const GatewayPlan& wanted);
  /// All or nothing.
  Result<void> change_to(const GatewayOptions& wanted);
  void forget_captured(Result<void> (*forget)(std::uint32_t mark, std::uint32_t mask)) const;
};

GatewayCapture::GatewayCapture(std::unique_ptr<State> state) : state_(std::move(state)) {}
GatewayCapture::GatewayCapture(GatewayCapture&&) noexcept = default;
GatewayCapture& GatewayCapture::operator=(GatewayCapture&&) noexcept = default;
GatewayCapture::~GatewayCapture() = default;

Result<GatewayCapture> GatewayCapture::create(const GatewayOptions& options) {
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "capturing a LAN or this machine's traffic"));
  const bool ipv6 = kernel_has_ipv6();
  const Features features = probe_features();
  MethodDecision method;
  if (options.captures()) {
    method = SHUNT_TRY(decide_method(options.method, features, ipv6,
                                     bridge_netfilter_on(options.interfaces, ipv6)));
  }
  auto instance = SHUNT_TRY(Instance::create(
      record_of(options), [&](const auto& running) { return check_others(options, running); },
      LeftMarks::adopt));
  auto state = std::make_unique<State>(options, std::move(instance));
  state->features = features;
  state->method = std::move(method);
  const Allotment& allotment = state->instance.allotment();
  SHUNT_CHECK(
      check_leaving(options.leaving, state->method.method, state->features, allotment.marks));
  SHUNT_CHECK(check_notrack(options, state->method.method));
  state->table_marks = TableMarks(allotment.table_mask);
  SHUNT_CHECK(state->table_marks.assign(options.leaving.tables));
  state->hold =
      SHUNT_TRY(decide_hold(options, state->method.method, &state->features, allotment.marks));
  if (options.captures()) {
    state->settle_udp();
    state->listeners = SHUNT_TRY(
        make_listeners({.method = state->method.method,
                        .workers = options.workers,
                        .mark = allotment.marks.egress,
                        .udp = true,
                        .udp_listeners = state->options.udp_listeners(),
                        .hold = state->hold.spec ? state->hold.spec->marks : HoldMarks{}}));
    SHUNT_CHECK(state->bind_queues());
  } else {
    state->listeners.workers.resize(options.workers);
  }
  state->plan = plan_gateway(state->options, state->method.method, allotment, state->listeners.port,
                             state->listeners.ipv6, state->table_marks, state->hold.spec);
  return GatewayCapture(std::move(state));
}

const MethodDecision& GatewayCapture::method() const { return state_->method; }
const std::string& GatewayCapture::why_not_held() const { return state_->hold.why_not; }
const GatewayPlan& GatewayCapture::plan() const { return state_->plan; }

std::vector<ListenerSet> GatewayCapture::take_listeners() {
  return std::exchange(state_->listeners.workers, {});
}

const std::vector<Endpoint>& GatewayCapture::own_listeners() const { return state_->listeners.own; }

std::shared_ptr<ReplySockets> GatewayCapture::reply_sockets() const {
  if (!state_->options.captures() || state_->method.method != CaptureMethod::tproxy) return nullptr;
  const Marks& marks = state_->plan.spec.marks;
  return local_reply_sockets(marks.egress, marks.kept());
}

std::uint32_t GatewayCapture::egress_mark() const {
  return state_->options.mark_upstreams ? state_->plan.spec.marks.egress : 0;
}

std::uint32_t GatewayCapture::kept_source_mark() const {
  return state_->options.mark_upstreams ? state_->plan.spec.marks.kept() : 0;
}

const TableMarks& GatewayCapture::table_marks() const { return state_->table_marks; }

Result<TableMarks> GatewayCapture::marks_with(const std::vector<std::uint32_t>& tables) const {
  TableMarks marks = state_->table_marks;
  SHUNT_CHECK(marks.assign(tables));
  return marks;
}

void GatewayCapture::State::settle_udp() {
  const bool several = method.method == CaptureMethod::tproxy && options.workers > 1;
  if (!several || shares_udp()) return;
  options.shares_udp = false;
  log(LogLevel::warning, "this kernel's nftables has no jhash: one worker carries all of UDP");
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

/// Adds what is not there yet.
Result<void> GatewayCapture::State::install_routing(const GatewayPlan& wanted) {
  if (!wanted.device.empty() && !tun) tun = SHUNT_TRY(TunDevice::create(wanted.device));
  for (const RouteSpec& route : wanted.routes) {
    if (std::ranges::find(routes, route, &PolicyRoute::spec) != routes.end()) continue;
    routes.push_back(SHUNT_TRY(PolicyRoute::create(route)));
  }
  for (const RuleSpec& rule : wanted.rules) {
    if (std::ranges::find(rules, rule, &PolicyRule::spec) != rules.end()) continue;
    rules.push_back(SHUNT_TRY(PolicyRule::create(rule)));
  }
  return {};
}

/// A device and its routes that serve nobody any more stay until the end: they do nothing.
void GatewayCapture::State::drop_rules_beyond(const GatewayPlan& wanted) {
  std::erase_if(rules, [&](const PolicyRule& rule) {
    return std::ranges::find(wanted.rules, rule.spec()) == wanted.rules.end();
  });
}

RuleGuard::Guarded GatewayCapture::State::guarded() {
  RuleGuard::Guarded out{.routes = {}, .rules = {}, .tun = tun ? &*tun : nullptr};
  for (const PolicyRoute& route : routes) out.routes.push_back(route.spec());
  for (const PolicyRule& rule : rules) out.rules.push_back(rule.spec());
  return out;
}

/// The closed table first: if shunt dies between the two, the traffic is blocked and not let go.
Result<void> GatewayCapture::State::install_tables() {
  if (!plan.closed_table_body.empty()) {
    closed_table = SHUNT_TRY(NftTable::create(plan.closed_table_name, plan.closed_table_body,
                                              TableLifetime::persistent));
  }
  table = SHUNT_TRY(NftTable::create(plan.table_name, plan.table_body));
  return complete_table();
}

/// Until it is complete clients are let in first.
Result<void> GatewayCapture::State::complete_table() {
  if (!hold.spec) return {};
  return hold::append_queue_rules(table->context(), table->name(), *hold.spec);
}

/// One for each worker. Others may have taken the numbers since they were found free.
Result<void> GatewayCapture::State::bind_queues() {
  constexpr int kAttempts = 4;
  for (int attempt = 1; hold.spec; ++attempt) {
    std::vector<Hold> holds;
    Result<void> done;
    for (unsigned i = 0; done && i < hold.spec->queues; ++i) {
      auto socket = SHUNT_TRY(PacketQueue::make_socket());
      auto queue = PacketQueue::create(
          std::move(socket), {.number = static_cast<std::uint16_t>(hold.spec->first_queue + i),
                              .most_packets = limits::kHeldQueuePackets,
                              .bytes = limits::kHeldPacketBytes});
      if (queue) {
        holds.push_back({.queue = *std::move(queue), .marks = hold.spec->marks});
      } else {
        done = Failure(std::move(queue).error());
      }
    }
    if (done) {
      for (std::size_t i = 0; i < holds.size(); ++i) {
        listeners.workers[i].hold = std::move(holds[i]);
      }
      return {};
    }
    if (attempt == kAttempts) return done;
    holds.clear();
    hold.spec->first_queue = SHUNT_TRY(free_queues(hold.spec->queues));
  }
  return {};
}

/// What still bears our marks was captured by an instance that is dead, or by this one before it
/// stopped. Not essential (a kernel without nf_conntrack_netlink cannot do it): entries time out.
void GatewayCapture::State::forget_captured(Result<void> (*forget)(std::uint32_t mark,
                                                                   std::uint32_t mask)) const {
  if (plan.spec.marks.mask == 0) return;  // never got as far as a plan
  const Marks& marks = plan.spec.marks;
  for (const std::uint32_t mark : {marks.forwarded, marks.own, marks.reply()}) {
    if (mark != 0) (void)forget(mark, marks.mask);
  }
}

/// The captured connections are forgotten when no rule can mark them again; not by who never got so
/// far and has a dead shunt's marks: that one's closed table still knows its connections by them.
GatewayCapture::State::~State() {
  guard.reset();
  table.reset();
  closed_table.reset();
  if (installed || !instance.allotment().adopted_marks) forget_captured(forget_connections);
}

Result<std::vector<std::string>> GatewayCapture::install() {
  State& state = *state_;
  if (!state.options.changes_kernel()) return std::vector<std::string>{};
  auto problems = SHUNT_TRY(state.raise_sysctls());
  // After on-exit = closed not TCP: the kernel goes on asking clients of the dead shunt to close,
  // and what they answer, bare resets even, is to come to those sockets and not to leave.
  const bool takes_over = state.instance.allotment().adopted_marks;
  state.forget_captured(takes_over ? forget_but_tcp : forget_connections);
  SHUNT_CHECK(state.install_routing(state.plan));
  SHUNT_CHECK(state.install_tables());
  state.installed = true;
  state.guard = SHUNT_TRY(RuleGuard::create(state.guarded()));
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
    if (state_->plan.spec.notrack) flush(kTakeUntracked);
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
Result<void> GatewayCapture::State::replace_tables(const GatewayPlan& wanted) {
  const bool same_closed = wanted.closed_table_body == plan.closed_table_body;
  if (closed_table && !same_closed) {
    SHUNT_CHECK(closed_table->replace(wanted.closed_table_body));
  }
  if (!table) {  // nothing was needed until now
    if (!wanted.table_name.empty()) {
      table = SHUNT_TRY(NftTable::create(wanted.table_name, wanted.table_body));
    }
    return table ? complete_table() : Result<void>();
  }
  if (wanted.table_body == plan.table_body) return {};
  auto replaced = table->replace(wanted.table_body);
  if (replaced) return complete_table();
  if (closed_table && !same_closed) (void)closed_table->replace(plan.closed_table_body);
  return Failure(std::move(replaced).error());
}

/// Routing before the tables that set marks for it, as at the start. The tables are the last thing
/// that can fail.
Result<void> GatewayCapture::State::install_change(const GatewayPlan& wanted) {
  SHUNT_CHECK(install_routing(wanted));
  std::optional<RuleGuard> first_guard;
  if (!guard && (table || !wanted.table_name.empty())) {
    first_guard = SHUNT_TRY(RuleGuard::create(guarded()));
  }
  SHUNT_CHECK(replace_tables(wanted));
  if (first_guard) guard = std::move(first_guard);
  return {};
}

Result<void> GatewayCapture::State::change_to(const GatewayOptions& wanted) {
  SHUNT_CHECK(check_leaving(wanted.leaving, method.method, features, plan.spec.marks));
  SHUNT_CHECK(check_notrack(wanted, method.method));
  TableMarks next_marks = table_marks;
  SHUNT_CHECK(next_marks.assign(wanted.leaving.tables));
  GatewayPlan next = plan_gateway(wanted, method.method, instance.allotment(), plan.spec.port,
                                  plan.spec.ipv6, next_marks, hold.spec);
  if (auto done = install_change(next); !done) {
    drop_rules_beyond(plan);
    return done;
  }
  drop_rules_beyond(next);
  next.sysctls = std::move(plan.sysctls);  // raised by now, so none would be left to plan
  plan = std::move(next);
  options = wanted;
  table_marks = std::move(next_marks);
  if (guard) guard->replace(guarded());
  return {};
}

Result<bool> GatewayCapture::replace_rules(Replacement replacement) {
  State& state = *state_;
  const std::string before = state.plan.table_body;
  GatewayOptions wanted = state.options;
  wanted.exclusions = std::move(replacement.exclusions);
  wanted.kernel_rules = std::move(replacement.kernel_rules);
  wanted.own_dns = replacement.own_dns;
  wanted.leaving = replacement.leaving.with(state.options.leaving);
  SHUNT_CHECK(state.change_to(wanted));
  state.leaving_wanted = std::move(replacement.leaving);
  return state.plan.table_body != before;
}

Result<bool> GatewayCapture::retire_earlier_leaving() {
  State& state = *state_;
  if (state.options.leaving == state.leaving_wanted) return false;
  const std::string before = state.plan.table_body;
  GatewayOptions wanted = state.options;
  wanted.leaving = state.leaving_wanted;
  SHUNT_CHECK(state.change_to(wanted));
  state.table_marks.keep_only(wanted.leaving.tables);
  return state.plan.table_body != before;
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
