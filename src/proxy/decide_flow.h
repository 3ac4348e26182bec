// SPDX-License-Identifier: GPL-2.0-only
// Decides about one TCP flow: gathers the facts that the rules ask for, and only those, until they
// say what happens to it.
//
//   process         looked up at once, on the worker: a query of the kernel where rules ask for
//                   users only, else a look at the descriptors of all processes (some 10 us each)
//   first bytes     awaited for sniff_wait_ms in all, never where the server speaks first, for the
//                   rules or for a way out that sends names; a held client is let in for them, and
//                   can then only be turned away by a reset
//   verification    a lookup of the name (proxy/name_verifier.h), within the same time
//
// A flow that gives no name of its own goes by the one that DNS gave its address (dns/memory.h).
// What does not come in time never comes: decide() is then asked for what it makes of that.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>

#include "flow/admission.h"
#include "flow/facts.h"
#include "flow/process_finder.h"
#include "net/task.h"
#include "proxy/flow_name.h"
#include "proxy/policy.h"
#include "relay/relay.h"

namespace shunt {

class DnsService;  // proxy/dns_service.h

/// What decide_flow() needs of its worker. Outlives every flow of it.
struct DecideContext {
  RelayResources& relay;
  const CurrentPolicy& policy;
  NameEvidence names;
  ProcessFinder* processes;                           ///< null: no flow has a process
  std::span<const std::uint16_t> server_first_ports;  ///< beside server_speaks_first()
  std::uint32_t sniff_wait_ms;
  DnsService* dns = nullptr;  ///< null: no destination is a fake address
};

/// What was decided, by what, and what is known of the flow.
struct DecidedFlow {
  std::shared_ptr<const Policy> policy;
  Facts facts;
  std::uint32_t rule = 0;
  bool by_first_bytes = false;  ///< another first request might have been decided otherwise
  NameEvidence names = {};      ///< as in DecideContext
  DnsService* dns = nullptr;    ///< the same

  [[nodiscard]] const Verdict& verdict() const { return policy->rules().verdict(rule); }
  /// Null where the verdict denies; lives as long as `policy`.
  [[nodiscard]] const WayOut* way_out() const { return policy->carrier(rule, facts.destination); }
  [[nodiscard]] Hints hints() const;
  /// What the rule or its way out says; early if one of them does.
  [[nodiscard]] ConnectMode connect_mode() const;
};

/// The facts that are there from the beginning.
[[nodiscard]] Facts plain_facts(const Flow& flow);

/// Some rule asks for more of a process than whose it is.
[[nodiscard]] bool names_processes(const Ruleset& rules);
/// Whose the flow is, as far as the rules ask for it. `processes` may be null.
[[nodiscard]] ProcessFact process_of(const Flow& flow, const Ruleset& rules,
                                     ProcessFinder* processes);

/// Fails where a held client that had to be let in was gone: nothing is left to refuse then. Counts
/// the hit.
Task<std::expected<DecidedFlow, ConnectFailure>> decide_flow(const DecideContext& context,
                                                             Captured& captured);

}  // namespace shunt
