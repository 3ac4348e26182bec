// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/decide_flow.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>
#include <utility>
#include <vector>

#include "capture/capture.h"
#include "policy/decide.h"
#include "proxy/client_peek.h"
#include "proxy/dns_service.h"
#include "proxy/flow_name.h"
#include "proxy/refusal.h"
#include "proxy/unread.h"
#include "rule/values.h"
#include "sniff/first_facts.h"

namespace shunt {
namespace {

using Gathered = std::expected<void, ConnectFailure>;

/// The name that a PROXY header gives is the client's word still: the sender passes on what it was
/// asked for.
void learn_authority(const std::string& authority, NameFact& name) {
  auto host = host_name(authority);
  if (!host || Address::parse(*host)) return;
  name = {.state = FactState::known,
          .name = *std::move(host),
          .source = NameSource::proxy_header,
          .verified = false};
}

class Decider {
 public:
  Decider(const DecideContext& context, Captured& captured, DecidedFlow& out)
      : context_(context), captured_(captured), out_(out) {}

  Task<Gathered> run();

 private:
  [[nodiscard]] bool server_first() const;
  Task<Gathered> gather(Needs needs);
  Task<Gathered> see_first_bytes();
  Task<Gathered> begin_looking();
  Task<Gathered> let_in();
  Task<Gathered> name_for_way_out();
  [[nodiscard]] Decision strictest_if_unread(const Decision& decision);

  const DecideContext& context_;
  Captured& captured_;
  DecidedFlow& out_;
  std::optional<ClientPeek> peek_;
  std::vector<NameFact> other_names_;  // that the address may mean as well
  Wait wait_ = Wait::possible;
  Clock::time_point deadline_ = Clock::now() + std::chrono::milliseconds(context_.sniff_wait_ms);
};

Task<Gathered> Decider::run() {
  const Ruleset& rules = out_.policy->rules();
  Decision decision = decide(rules, out_.facts, wait_);
  while (decision.needs.any()) {
    const auto gathered = co_await gather(decision.needs);
    if (!gathered) co_return gathered;
    decision = decide(rules, out_.facts, wait_);
  }
  decision = strictest(rules, out_.facts, decision, other_names_);
  decision = strictest(rules, out_.facts, decision, rivals(out_.facts));
  decision = strictest_if_unread(decision);
  out_.rule = decision.rule;
  out_.policy->hit(decision.rule);
  if (decision.name_mismatch) note_mismatch(captured_.flow, out_.facts.name);
  const WayOut* way_out = out_.way_out();
  const ConnectMode mode = out_.connect_mode();
  Gathered gathered;
  if (mode == ConnectMode::early) gathered = co_await let_in();
  const bool held = captured_.client->peekable_fd() < 0;
  const bool wants_name =
      way_out != nullptr && way_out->wants_name() && !(held && mode == ConnectMode::honest);
  if (gathered && wants_name) gathered = co_await name_for_way_out();
  if (!gathered) co_return gathered;
  captured_.flow.host = host_of(out_.facts.name);
  co_return Gathered{};
}

Decision Decider::strictest_if_unread(const Decision& decision) {
  if (!out_.facts.app.unread) return decision;
  const Ruleset& rules = out_.policy->rules();
  if (out_.facts.process.state == FactState::unknown) {
    out_.facts.process = process_of(captured_.flow, rules, context_.processes);
  }
  const Decision strict = strictest_of_unread(rules, out_.facts, decision);
  const bool denied = rules.verdict(strict.rule).denies();
  if (denied && !rules.verdict(decision.rule).denies()) {
    note_unread(captured_.flow, *out_.facts.app.unread, strict.rule);
  }
  return strict;
}

// Each call settles something, so that the loop around it ends.
Task<Gathered> Decider::gather(Needs needs) {
  if (needs.has(Needs::kProcess)) {
    out_.facts.process = process_of(captured_.flow, out_.policy->rules(), context_.processes);
    co_return Gathered{};
  }
  if (needs.first_bytes()) {
    out_.by_first_bytes = !server_first();
    const auto seen = co_await see_first_bytes();
    if (needs.has(Needs::kName)) other_names_ = adopt_remembered_name(context_.names, out_.facts);
    co_return seen;
  }
  // All other facts are settled by then: decide() asks for this one last.
  const bool verified =
      co_await verify_name(context_.names, context_.relay.loop, out_.facts, ms_until(deadline_));
  if (!verified) wait_ = Wait::over;
  co_return Gathered{};
}

bool Decider::server_first() const {
  const std::uint16_t port = captured_.flow.original_destination.port;
  return server_speaks_first(port) ||
         std::ranges::find(context_.server_first_ports, port) != context_.server_first_ports.end();
}

Task<Gathered> Decider::see_first_bytes() {
  if (server_first()) {
    settle_first_bytes(out_.facts);
    co_return Gathered{};
  }
  if (!peek_) {
    const auto begun = co_await begin_looking();
    if (!begun) co_return begun;
  }
  const bool more = co_await peek_->learn_more(out_.facts);
  if (!more && peek_->timed_out()) note_silence(captured_.flow);
  co_return Gathered{};
}

// From then on it is one that was accepted.
Task<Gathered> Decider::let_in() {
  if (captured_.client->peekable_fd() >= 0) co_return Gathered{};
  auto admitted = co_await captured_.client->admit();
  if (!admitted) co_return std::unexpected(std::move(admitted).error());
  captured_.client = accepted_client(*std::move(admitted));
  co_return Gathered{};
}

// A held client says nothing before it is let in.
Task<Gathered> Decider::begin_looking() {
  const auto admitted = co_await let_in();
  if (!admitted) co_return admitted;
  peek_.emplace(context_.relay, captured_.client->peekable_fd(), ms_until(deadline_));
  co_return Gathered{};
}

// Where the server speaks first the address has to do.
Task<Gathered> Decider::name_for_way_out() {
  Gathered seen;
  while (seen && !server_first() && out_.facts.name.state == FactState::unknown) {
    seen = co_await see_first_bytes();
  }
  co_return seen;
}

}  // namespace

ConnectMode DecidedFlow::connect_mode() const {
  const ConnectMode by_rule = verdict().connect;
  const WayOut* carrier = way_out();
  if (carrier == nullptr || by_rule == ConnectMode::early) return by_rule;
  const ConnectMode by_way_out = carrier->connect_mode();
  return by_way_out == ConnectMode::automatic ? by_rule : by_way_out;
}

Hints DecidedFlow::hints() const {
  // What DNS said of an address is no reason to let a proxy look the name up anew.
  const bool said = facts.name.source != NameSource::dns_memory;
  if (facts.name.state != FactState::known || !said) return {};
  const bool fake = facts.name.source == NameSource::fake_ip;
  return {.host = facts.name.name, .source = facts.name.source, .resolver = fake ? dns : nullptr};
}

Facts plain_facts(const Flow& flow) {
  Facts facts{.client = flow.source,
              .destination = flow.original_destination,
              .protocol = flow.protocol,
              .minute_of_week = minute_of_week(std::time(nullptr))};
  if (flow.announced != nullptr) learn_authority(flow.announced->authority, facts.name);
  return facts;
}

bool names_processes(const Ruleset& rules) {
  constexpr std::array kOfTheProcess = {TermKey::process,  TermKey::exe,     TermKey::gid,
                                        TermKey::cgroup,   TermKey::classid, TermKey::unit,
                                        TermKey::container};
  return std::ranges::any_of(kOfTheProcess, [&](TermKey key) { return rules.uses(key); });
}

ProcessFact process_of(const Flow& flow, const Ruleset& rules, ProcessFinder* processes) {
  if (processes == nullptr) return {.state = FactState::never};
  const bool all = names_processes(rules);
  return processes->find(flow, all ? ProcessFinder::Wanted::all : ProcessFinder::Wanted::owner);
}

Task<std::expected<DecidedFlow, ConnectFailure>> decide_flow(const DecideContext& context,
                                                             Captured& captured) {
  DecidedFlow out;
  out.policy = context.policy.get();
  out.names = context.names;
  const Ruleset& rules = out.policy->rules();
  out.dns = context.dns;
  out.facts = plain_facts(captured.flow);
  out.by_first_bytes = out.facts.name.source == NameSource::proxy_header;
  if (context.dns != nullptr) (void)context.dns->name_destination(out.facts);
  if (rules.uses(TermKey::interface)) out.facts.interface = captured.client->arrival_interface();
  Decider decider(context, captured, out);
  const auto decided = co_await decider.run();
  if (!decided) co_return std::unexpected(decided.error());
  co_return out;
}

}  // namespace shunt
