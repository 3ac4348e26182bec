// SPDX-License-Identifier: GPL-2.0-only
#include "capture/cgroup_processes.h"

#include <fmt/format.h>

#include <utility>

#include "kernel/process_facts.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

/// The kernel has the thread's name, which some programs give to each of them; users mean that of
/// the process.
std::string name_of(const ClientProcess& process) {
  if (process.pid == 0 || process.pid == process.thread) return process.name;
  auto name = read_text_file(fmt::format("/proc/{}/comm", process.pid));
  if (!name || name->empty()) return process.name;
  if (name->back() == '\n') name->pop_back();
  return *std::move(name);
}

}  // namespace

std::optional<ProcessInfo> CgroupProcesses::lookup(const Flow& flow) {
  if (flow.process == nullptr) return std::nullopt;
  return ProcessInfo{.name = name_of(*flow.process), .pid = flow.process->pid};
}

ProcessFact CgroupProcesses::find(const Flow& flow, Wanted wanted) {
  if (flow.process == nullptr) return {.state = FactState::never};
  const ClientProcess& process = *flow.process;
  ProcessFact fact{.state = FactState::never};
  if (wanted == Wanted::all && process.pid != 0) fact = process_facts(process.pid);
  // Those that called: a program may have changed them since.
  fact.uid = process.uid;
  fact.gid = process.gid;
  if (fact.state == FactState::known) return fact;
  fact.state = FactState::known;
  fact.name = process.name;
  return fact;
}

}  // namespace shunt
