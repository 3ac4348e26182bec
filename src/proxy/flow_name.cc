// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/flow_name.h"

#include <algorithm>

#include "base/counters.h"
#include "base/log.h"

namespace shunt {

std::uint32_t left_ms(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<std::uint32_t>(std::max<std::int64_t>(left.count(), 0));
}

Task<bool> verify_name(NameVerifier* names, EventLoop& loop, Facts& facts, std::uint32_t wait_ms) {
  NameFact& name = facts.name;
  if (names != nullptr) {
    name.verified = co_await names->verify(loop, name.name, facts.destination.address, wait_ms);
  }
  co_return name.verified;
}

FlowHost host_of(const NameFact& name) {
  if (name.state != FactState::known) return {};
  return {.name = name.name, .source = name.source, .ech = name.ech};
}

void note_silence(const Flow& flow) {
  count(Counter::sniff_waits_expired);
  static RateLimitedLog silent_clients;
  silent_clients.warn(flow.source.text() + " did not name its destination within the sniff wait: " +
                      flow.original_destination.text() + " goes by its address");
}

void note_mismatch(const Flow& flow, const NameFact& name) {
  count(Counter::name_mismatches);
  static RateLimitedLog mismatches;
  mismatches.warn(flow.source.text() + " says " + name.name + " and goes to " +
                  flow.original_destination.text() +
                  ", which no lookup ties to it: the name permits nothing");
}

}  // namespace shunt
