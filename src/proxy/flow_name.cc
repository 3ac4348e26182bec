// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/flow_name.h"

#include <algorithm>
#include <utility>

#include "base/counters.h"
#include "base/log.h"

namespace shunt {

bool NameEvidence::ties(const std::string& name, const Address& address) const {
  if (memory != nullptr && memory->ties(name, address)) return true;
  return lookups != nullptr && lookups->known(name, address).value_or(false);
}

Task<bool> verify_name(NameEvidence evidence, EventLoop& loop, Facts& facts,
                       std::uint32_t wait_ms) {
  NameFact& name = facts.name;
  const Address address = facts.destination.address;
  name.verified = evidence.memory != nullptr && evidence.memory->ties(name.name, address);
  if (!name.verified && evidence.lookups != nullptr) {
    name.verified = co_await evidence.lookups->verify(loop, name.name, address, wait_ms);
  }
  co_return name.verified;
}

namespace {

/// What this machine was answered over loopback is for all its addresses.
std::vector<dns::Memory::Name> remembered(const NameEvidence& evidence, const Facts& facts) {
  const Address& client = facts.client.address;
  const Address& destination = facts.destination.address;
  if (evidence.own != nullptr && !client.is_loopback() && evidence.own->contains(client)) {
    const Address here = Address::loopback(Family::ipv4);
    auto names = evidence.memory->names_of(here, destination);
    if (!names.empty()) return names;
  }
  return evidence.memory->names_of(client, destination);
}

}  // namespace

std::vector<NameFact> adopt_remembered_name(const NameEvidence& evidence, Facts& facts) {
  if (evidence.memory == nullptr || facts.name.state != FactState::never) return {};
  std::vector<NameFact> names;
  for (auto& each : remembered(evidence, facts)) {
    names.push_back({.state = FactState::known,
                     .name = std::move(each.name),
                     .source = NameSource::dns_memory,
                     .verified = each.tied});
  }
  if (names.empty()) return {};
  facts.name = std::move(names.front());
  names.erase(names.begin());
  return names;
}

// A name is believed here: what it would deny if it were true is denied.
Decision strictest(const Ruleset& rules, Facts& facts, Decision decision,
                   const std::vector<NameFact>& others) {
  for (const NameFact& other : others) {
    if (rules.verdict(decision.rule).denies()) break;
    Facts trial = facts;
    trial.name = other;
    trial.name.verified = true;
    const Decision strict = decide(rules, trial, Wait::over);
    if (!rules.verdict(strict.rule).denies()) continue;
    facts.name = other;
    decision = strict;
  }
  return decision;
}

std::vector<NameFact> rivals(const Facts& facts) {
  std::vector<NameFact> names;
  for (const std::string& name : facts.rival_names) {
    names.push_back({.state = FactState::known, .name = name, .source = NameSource::http_host});
  }
  return names;
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
  const bool said = name.source != NameSource::dns_memory;
  mismatches.warn(flow.source.text() + (said ? " says " : " was told the address of ") + name.name +
                  " and goes to " + flow.original_destination.text() +
                  ", which no lookup ties to it: the name permits nothing");
}

}  // namespace shunt
