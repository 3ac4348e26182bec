// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <mutex>
#include <optional>

#include "base/lru_map.h"
#include "flow/process_finder.h"
#include "flow/process_names.h"
#include "net/endpoint.h"

namespace shunt {

/// Whose flows are, from the system calls that made them. Any thread.
class TrappedProcesses final : public ProcessNames, public ProcessFinder {
 public:
  /// The process of `thread`, which waits in a call, has a socket that sends from `source`.
  void note(Protocol protocol, const Endpoint& source, pid_t thread);
  std::optional<ProcessInfo> lookup(const Flow& flow) override;
  ProcessFact find(const Flow& flow, Wanted wanted) override;

 private:
  static constexpr std::size_t kMostKnown = 16'384;  // sockets; the oldest are forgotten

  std::optional<ProcessInfo> known(const Flow& flow);

  std::mutex mutex_;
  LruMap<Endpoint, ProcessInfo, EndpointHash> tcp_{kMostKnown};
  LruMap<Endpoint, ProcessInfo, EndpointHash> udp_{kMostKnown};
};

}  // namespace shunt
