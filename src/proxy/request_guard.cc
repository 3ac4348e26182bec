// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/request_guard.h"

#include <utility>

#include "base/counters.h"
#include "policy/decide.h"
#include "sniff/first_facts.h"

namespace shunt {

std::unique_ptr<RequestGuard> RequestGuard::create(const DecidedFlow& decided) {
  const AppFact& app = decided.facts.app;
  const bool perhaps_http = app.state != FactState::known || app.app == AppProtocol::http;
  if (!decided.by_first_bytes || !perhaps_http) return nullptr;
  return std::make_unique<RequestGuard>(decided);
}

RequestGuard::RequestGuard(const DecidedFlow& decided) : decided_(decided) {}

bool RequestGuard::strict() const { return decided_.facts.app.state == FactState::known; }

void RequestGuard::see(std::string_view bytes) {
  while (state_ == State::watching) {
    const auto step = requests_.feed(bytes);
    bytes.remove_prefix(step.consumed);
    if (step.event == HttpEvent::none) return;
    if (step.event == HttpEvent::head) {
      saw_request_ = true;
      if (!permits(step.head)) object();
    } else if (step.event == HttpEvent::stopped) {
      if (strict() || saw_request_) {
        object();
      } else {
        state_ = State::off;  // a client that was silent at first, and does not speak HTTP
      }
    }
  }
}

void RequestGuard::object() {
  count(Counter::requests_ended_flow);
  state_ = State::objects;
}

void RequestGuard::skip(std::uint64_t count) {
  if (state_ != State::watching) return;
  requests_.skip(count);
  see({});
}

std::uint64_t RequestGuard::uninteresting() const {
  return state_ == State::off ? Http1Parser::kEverything : requests_.uninteresting();
}

bool RequestGuard::is_tied(const std::string& name) const {
  const NameFact& first = decided_.facts.name;
  if (first.verified && name == first.name) return true;
  const Address& address = decided_.facts.destination.address;
  return decided_.names.ties(name, address);
}

// A name that was never looked up is the client's word alone: there is no time for it now. A client
// that did not name its host in time was carried by its address; then only what is denied by the
// name does not pass.
bool RequestGuard::permits(const HttpHead& head) const {
  const Policy& policy = *decided_.policy;
  Facts facts = decided_.facts;
  facts.app = {.state = FactState::known, .app = AppProtocol::http};
  learn_request(head, facts);
  facts.name.verified = is_tied(facts.name.name);
  const Decision now = decide(policy.rules(), facts, Wait::over);
  if (!strict()) return !policy.rules().verdict(now.rule).denies();
  return policy.same_verdict(now.rule, policy, decided_.rule);
}

}  // namespace shunt
