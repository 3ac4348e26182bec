// SPDX-License-Identifier: GPL-2.0-only
// The flow that `shunt explain` is asked about, and what becomes of it, as plain data.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capture/gateway_plan.h"
#include "capture/plain_listeners.h"
#include "flow/facts.h"
#include "kernel/links.h"
#include "policy/explain.h"

namespace shunt::cli {

struct FlowQuestion {
  std::string destination;  ///< ADDRESS, NAME, ADDRESS:PORT, NAME:PORT, [ADDRESS]:PORT
  std::string client = {};  ///< address; "": this machine
  std::string host = {};
  std::string process = {};
  std::string interface = {};     ///< that it arrives on; "": not said
  std::uint16_t client_port = 0;  ///< 0: not said
  Protocol protocol = Protocol::tcp;
};

/// Resolves a destination that is a name (blocks), which is then the flow's host too. Without a
/// client the flow is this machine's own, from the address that it would be sent from.
Result<Facts> facts_of(const FlowQuestion& question);

/// Where a client's flow arrives, if nobody said so: on the interface that has an address in the
/// client's network, else on the only one that is captured. Pure.
void infer_interface(Facts& facts, const GatewayOptions& capture,
                     std::span<const InterfaceAddress> addresses);

/// Whether the flow reaches shunt at all, and why (not).
struct CaptureAnswer {
  bool captured = true;
  std::string why;           ///< "it comes from the LAN (br-lan)", "excluded by \"port 22\""
  bool by_listener = false;  ///< a plain one: the kernel's rules are not asked
  /// Not captured: what becomes of it.
  std::string goes = "as if shunt were not there; no rule is asked";
};
/// Of a flow that arrives at a plain listener.
CaptureAnswer arrival_at(const PlainListener& listener, const Facts& facts);
/// `addresses`: this machine's. Pure.
CaptureAnswer capture_of(const Facts& facts, const GatewayOptions& capture, bool any_lan,
                         std::span<const InterfaceAddress> addresses);

struct FlowAnswer {
  CaptureAnswer capture;
  Explanation now;         ///< with what is known of the flow
  Explanation at_last;     ///< the same if nothing else becomes known; equal where nothing is open
  bool untold = false;     ///< a rule before that one asks for what the question does not say
  bool in_kernel = false;  ///< the kernel sends it direct by `at_last.decision.rule`
};

/// `capture`: none where only rules are asked about.
FlowAnswer explain_flow(const Ruleset& rules, const Facts& facts,
                        const std::optional<CaptureAnswer>& capture);

}  // namespace shunt::cli
