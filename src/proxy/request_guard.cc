// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/request_guard.h"

#include <utility>
#include <vector>

#include "base/counters.h"
#include "base/limits.h"
#include "policy/decide.h"
#include "proxy/unread.h"
#include "sniff/first_facts.h"

namespace shunt {
namespace {

constexpr char kTlsHandshakeRecord = 0x16;

/// A hello whose name was read has been decided by it, and so was a flow to a fake address.
bool may_name_more(const Facts& facts) {
  if (facts.app.state != FactState::known) return true;
  if (facts.app.app == AppProtocol::http) return true;
  const NameFact& name = facts.name;
  const bool decided_by_it =
      name.state == FactState::known && name.source != NameSource::dns_memory;
  return facts.app.app == AppProtocol::tls && !decided_by_it;
}

}  // namespace

std::unique_ptr<RequestGuard> RequestGuard::create(const DecidedFlow& decided, const Flow& flow) {
  const bool nobody_minds = decided.facts.app.unread.has_value();
  if (!decided.by_first_bytes || nobody_minds || !may_name_more(decided.facts)) return nullptr;
  return std::make_unique<RequestGuard>(decided, flow);
}

RequestGuard::RequestGuard(const DecidedFlow& decided, const Flow& flow)
    : decided_(decided), flow_(flow) {}

bool RequestGuard::strict() const {
  const AppFact& app = decided_.facts.app;
  return app.state == FactState::known && app.app == AppProtocol::http;
}

void RequestGuard::see(std::string_view bytes) {
  if (!begun_ && !bytes.empty()) {
    begun_ = true;
    if (bytes.front() == kTlsHandshakeRecord && !strict()) {
      hello_ = std::make_unique<TlsHelloReader>(TlsMessage::client_hello);
    }
  }
  hello_ != nullptr ? see_hello(bytes) : see_requests(bytes);
}

void RequestGuard::see_hello(std::string_view bytes) {
  if (hello_->feed(bytes) != TlsHelloReader::State::need_more) end_of_hello();
}

/// The client was carried by its address: only what is denied by the name does not pass.
void RequestGuard::end_of_hello() {
  state_ = State::off;
  Facts facts = decided_.facts;
  learn_tls_hello(*std::exchange(hello_, nullptr), facts);
  if (facts.app.unread) return judge_unread(AppProtocol::tls);
  // A hello without a name leaves the one that the client had looked the address up by.
  if (facts.name.state != FactState::known) facts.name = decided_.facts.name;
  const Decision now = decide_anew(facts);
  if (decided_.policy->rules().verdict(now.rule).denies()) object(now.rule);
}

void RequestGuard::see_requests(std::string_view bytes) {
  if (!strict() && requests_seen_ == 0 && state_ == State::watching) {
    beginning_.append(bytes.substr(0, limits::kHttpHeadBytes - beginning_.size()));
  }
  while (state_ == State::watching && !stopped_) {
    const auto step = requests_.feed(bytes);
    bytes.remove_prefix(step.consumed);
    if (step.event == HttpEvent::none) return;
    if (step.event == HttpEvent::head) take_request(step.head);
    if (step.event == HttpEvent::stopped) stop_requests();
  }
  if (state_ == State::watching) judge_beginning();
}

void RequestGuard::take_request(const HttpHead& head) {
  ++requests_seen_;
  std::string().swap(beginning_);
  const Policy& policy = *decided_.policy;
  Facts facts = decided_.facts;
  facts.app = {.state = FactState::known, .app = AppProtocol::http};
  learn_request(head, facts);
  const Decision now = decide_anew(facts);
  const bool passes = strict() ? policy.same_verdict(now.rule, policy, decided_.rule)
                               : !policy.rules().verdict(now.rule).denies();
  if (!passes) object(now.rule);
}

void RequestGuard::stop_requests() {
  stopped_ = true;
  if (requests_seen_ != 0) return object(decided_.rule);
  if (!strict()) return;
  state_ = State::off;
  judge_unread(AppProtocol::http);
}

/// A client that was silent at first, and does not speak the HTTP that is spoken here.
void RequestGuard::judge_beginning() {
  const HttpLikeness likeness = http_likeness(beginning_);
  if (likeness == HttpLikeness::maybe) return;
  state_ = State::off;
  std::string().swap(beginning_);
  if (likeness == HttpLikeness::yes) judge_unread(AppProtocol::http);
}

void RequestGuard::judge_unread(AppProtocol begun) {
  const Ruleset& rules = decided_.policy->rules();
  Facts facts = decided_.facts;
  facts.app.unread = begun;
  const Decision now = strictest_of_unread(rules, facts, {.needs = {}, .rule = decided_.rule});
  if (!rules.verdict(now.rule).denies()) return;
  note_unread(flow_, begun, now.rule);
  object(now.rule);
}

// A name that was never looked up is the client's word alone: there is no time for it now.
Decision RequestGuard::decide_anew(Facts& facts) const {
  const Ruleset& rules = decided_.policy->rules();
  facts.name.verified = is_tied(facts.name.name);
  return strictest(rules, facts, decide(rules, facts, Wait::over), rivals(facts));
}

void RequestGuard::object(std::uint32_t rule) {
  count(Counter::requests_ended_flow);
  state_ = State::objects;
  refused_ = flow_;
  refused_.rule = rule;
  const Verdict& verdict = decided_.policy->rules().verdict(rule);
  if (verdict.kind == Verdict::Kind::drop) {
    refused_.way_out = "drop";
  } else {
    refused_.way_out = verdict.denies() ? "reject" : "reset";
  }
}

void RequestGuard::skip(std::uint64_t count) {
  if (state_ != State::watching || hello_ != nullptr || stopped_) return;
  requests_.skip(count);
  see_requests({});
}

// One that objects wants to be asked whether it does: the parser has stopped by then.
std::uint64_t RequestGuard::uninteresting() const {
  if (state_ == State::off) return Http1Parser::kEverything;
  if (state_ == State::objects || hello_ != nullptr || stopped_) return 0;
  return requests_.uninteresting();
}

bool RequestGuard::is_tied(const std::string& name) const {
  const NameFact& first = decided_.facts.name;
  if (first.verified && name == first.name) return true;
  const Address& address = decided_.facts.destination.address;
  return decided_.names.ties(name, address);
}

}  // namespace shunt
