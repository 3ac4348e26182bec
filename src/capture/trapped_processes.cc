// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_processes.h"

#include <utility>

#include "base/counters.h"

namespace shunt {

void TrappedProcesses::note(Protocol protocol, const Endpoint& source, CallingProcess caller) {
  const std::scoped_lock lock(mutex_);
  auto& callers = protocol == Protocol::tcp ? tcp_ : udp_;
  if (callers.full() && callers.find(source) == nullptr) count(Counter::callers_forgotten);
  callers.set(source, std::move(caller));
}

CallingProcess TrappedProcesses::known(const Flow& flow) {
  const std::scoped_lock lock(mutex_);
  const auto* found = (flow.protocol == Protocol::tcp ? tcp_ : udp_).find(flow.source);
  return found == nullptr ? CallingProcess{} : *found;
}

std::optional<ProcessInfo> TrappedProcesses::lookup(const Flow& flow) {
  CallingProcess process = known(flow);
  if (process.fact.state != FactState::known) return std::nullopt;
  return ProcessInfo{.name = std::move(process.fact.name), .pid = process.pid};
}

ProcessFact TrappedProcesses::find(const Flow& flow, Wanted /*wanted*/) { return known(flow).fact; }

}  // namespace shunt
