// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/decide_udp.h"

#include <utility>
#include <vector>

#include "policy/decide.h"
#include "proxy/decide_flow.h"
#include "proxy/flow_name.h"
#include "proxy/unread.h"
#include "sniff/first_facts.h"

namespace shunt {
namespace {

bool is_over(const UdpSession& session) { return session.state == UdpSession::State::ended; }

/// Suspends until wake_decision(), or for as long.
class HelloWait {
 public:
  HelloWait(EventLoop& loop, UdpSession& session, std::uint32_t wait_ms)
      : loop_(loop), session_(session), wait_ms_(wait_ms), timer_(this, &HelloWait::expired) {}

  bool await_ready() const {
    const bool reading = session_.hello->state() == QuicHelloReader::State::need_more;
    return !reading || wait_ms_ == 0 || is_over(session_) || loop_.cancelled();
  }
  void await_suspend(std::coroutine_handle<> handle) {
    session_.decision = handle;
    loop_.timers().arm(timer_, loop_.in(wait_ms_));
  }
  void await_resume() { loop_.timers().disarm(timer_); }

 private:
  struct Expiry : Timer {
    Expiry(HelloWait* the_wait, Callback callback) : Timer(callback), wait(the_wait) {}
    HelloWait* wait;
  };
  static void expired(Timer& timer) {
    HelloWait& self = *static_cast<Expiry&>(timer).wait;
    wake_decision(self.loop_, self.session_);
  }

  EventLoop& loop_;
  UdpSession& session_;
  std::uint32_t wait_ms_;
  Expiry timer_;
};

/// Of what is not QUIC there is no more to see.
Task<> await_hello(EventLoop& loop, UdpSession& session, std::uint32_t wait_ms) {
  if (session.hello != nullptr) {
    co_await HelloWait(loop, session, wait_ms);
    if (is_over(session)) co_return;
    learn_quic_hello(*session.hello, session.facts);
    if (session.facts.name.state == FactState::unknown) note_silence(session.flow);
  }
  settle_first_bytes(session.facts);
}

void settle(UdpSession& session, const Decision& decision) {
  session.decided = true;
  if (session.hello == nullptr) settle_first_bytes(session.facts);
  session.flow.rule = decision.rule;
  session.flow.host = host_of(session.facts.name);
  session.policy->hit(decision.rule);
  if (decision.name_mismatch) note_mismatch(session.flow, session.facts.name);
}

}  // namespace

// Each turn of the loop settles a fact, so that it ends. Meanwhile other rules may have come.
Task<> decide_session(UdpDecideContext context, UdpSession& session) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(context.sniff_wait_ms);
  Wait wait = Wait::possible;
  std::vector<NameFact> other_names;
  Decision decision = decide(session.policy->rules(), session.facts, wait);
  while (decision.needs.any()) {
    if (decision.needs.has(Needs::kProcess)) {
      session.facts.process = process_of(session.flow, session.policy->rules(), context.processes);
    } else if (decision.needs.first_bytes()) {
      co_await await_hello(context.loop, session, ms_until(deadline));
      other_names = adopt_remembered_name(context.names, session.facts);
    } else if (!co_await verify_name(context.names, context.loop, session.facts,
                                     ms_until(deadline))) {
      wait = Wait::over;
    }
    if (is_over(session)) co_return;
    decision = decide(session.policy->rules(), session.facts, wait);
  }
  const Ruleset& rules = session.policy->rules();
  decision = strictest(rules, session.facts, decision, other_names);
  const Decision strict = strictest_of_unread(rules, session.facts, decision);
  if (strict.rule != decision.rule) {
    note_unread(session.flow, *session.facts.app.unread, strict.rule);
  }
  settle(session, strict);
}

void wake_decision(EventLoop& loop, UdpSession& session) {
  if (const auto waiting = std::exchange(session.decision, nullptr)) {
    loop.post([waiting] { waiting.resume(); });
  }
}

}  // namespace shunt
