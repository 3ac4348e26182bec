// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <mutex>
#include <optional>

#include "base/lru_map.h"
#include "capture/call_limits.h"
#include "flow/process_finder.h"
#include "flow/process_names.h"
#include "kernel/process_facts.h"
#include "net/endpoint.h"

namespace shunt {

/// Whose flows are, from the system calls that made them: the process as it was then, whatever has
/// become of it since. Any thread.
class TrappedProcesses final : public ProcessNames, public ProcessFinder {
 public:
  /// `caller` has a socket that sends from `source`. It was looked at while its call waited.
  void note(Protocol protocol, const Endpoint& source, CallingProcess caller);
  /// Looks at the process of `thread`, whose call waits still.
  void note(Protocol protocol, const Endpoint& source, pid_t thread) {
    note(protocol, source, calling_process(thread));
  }
  std::optional<ProcessInfo> lookup(const Flow& flow) override;
  ProcessFact find(const Flow& flow, Wanted wanted) override;

 private:
  CallingProcess known(const Flow& flow);

  std::mutex mutex_;
  // Datagrams' may begin new flows for as long as they live.
  LruMap<Endpoint, CallingProcess, EndpointHash> tcp_{limits::kCallingStreams};
  LruMap<Endpoint, CallingProcess, EndpointHash> udp_{limits::kDatagramSockets};
};

}  // namespace shunt
