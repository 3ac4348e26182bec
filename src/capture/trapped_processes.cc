// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_processes.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "kernel/process_facts.h"
#include "kernel/text_file.h"

namespace shunt {

// A thread's name may differ from its process's, and is what the program calls the one that
// connects; its number finds the process as well (proc(5)).
void TrappedProcesses::note(Protocol protocol, const Endpoint& source, pid_t thread) {
  auto name = read_text_file(fmt::format("/proc/{}/comm", thread)).value_or("");
  if (!name.empty() && name.back() == '\n') name.pop_back();
  const std::scoped_lock lock(mutex_);
  auto& sockets = protocol == Protocol::tcp ? tcp_ : udp_;
  sockets.set(source, {.name = std::move(name), .pid = thread});
}

std::optional<ProcessInfo> TrappedProcesses::known(const Flow& flow) {
  const std::scoped_lock lock(mutex_);
  const ProcessInfo* found = (flow.protocol == Protocol::tcp ? tcp_ : udp_).find(flow.source);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

std::optional<ProcessInfo> TrappedProcesses::lookup(const Flow& flow) { return known(flow); }

ProcessFact TrappedProcesses::find(const Flow& flow, Wanted /*wanted*/) {
  const auto process = known(flow);
  return process ? process_facts(process->pid) : ProcessFact{.state = FactState::never};
}

}  // namespace shunt
