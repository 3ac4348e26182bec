// SPDX-License-Identifier: GPL-2.0-only
// The running proxy: one worker thread for each ListenerSet, each with its own event loop, little
// shared between them (ARCHITECTURE.md). Commands make a capture, start a Proxy on
// its listeners, and stop it in the reverse order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "capture/capture.h"
#include "flow/process_finder.h"
#include "flow/record.h"
#include "flow/udp_nat.h"
#include "proxy/loop_guard.h"
#include "proxy/policy.h"

namespace shunt {

struct DnsSettings;  // proxy/dns_service.h

struct ProxyOptions {
  std::vector<ListenerSet> workers;  ///< one worker for each
  CaptureMethod method = CaptureMethod::tproxy;
  /// Flows to these are refused: a loop, or a direct dial. A wildcard address stands for every
  /// loopback address.
  std::vector<Endpoint> own_listeners;
  std::shared_ptr<const Policy> policy;
  /// The observer that the ways out were made with (UpstreamOptions).
  std::shared_ptr<const LoopGuard> loop_guard;
  std::shared_ptr<Origins> origins;             ///< of CaptureMethod::ebpf; otherwise null
  std::shared_ptr<ReplySockets> reply_sockets;  ///< null where UDP is not captured
  ProcessFinder* processes = nullptr;           ///< for rules; outlives the proxy; may be null
  std::shared_ptr<const DnsSettings> dns;       ///< null: queries of DNS are flows as others
  FlowLog* log = nullptr;                       ///< outlives the proxy; may be null
  bool observe_content = true;                  ///< parse HTTP and TLS for the log
  std::uint32_t sniff_wait_ms = limits::kSniffWaitMs;
  std::vector<std::uint16_t> server_first_ports;  ///< where it never waits, beside the known ones
  std::vector<Address> trusted_resolvers;  ///< whose answers tie names to addresses (dns/memory.h)
  UdpNat udp;
  std::uint32_t idle_timeout_ms = limits::kIdleTimeoutMs;
  /// Each worker has a descriptor table of its own (base/descriptor_table.h), and what one process
  /// may hold. Not where a ListenerSet has a source. Tools that list a process's sockets (ss -p,
  /// lsof) do not see those of the workers then.
  bool own_tables = false;
  int other_descriptors = 0;  ///< that others will open, in each worker's table: not for flows
};

class Proxy {
 public:
  /// Starts the worker threads. Block the signals that the caller wants to handle before this.
  static Result<std::unique_ptr<Proxy>> start(ProxyOptions options);
  /// Stops at once if it still runs.
  virtual ~Proxy() = default;

  enum class LiveFlows : std::uint8_t {
    keep,         ///< they go on as they were decided
    end_changed,  ///< those that the new policy decides otherwise end with a reset
  };
  /// From now on new flows are decided by `policy`. Any thread; does not wait.
  virtual void replace_policy(std::shared_ptr<const Policy> policy, LiveFlows live) = 0;
  /// Closes the listeners and lets live flows end by themselves; true when all did in time.
  virtual bool drain(std::uint32_t timeout_ms) = 0;
  /// Ends what is left with a reset and joins the threads.
  virtual void stop() = 0;
  [[nodiscard]] virtual std::size_t live_flows() const = 0;
  /// How many TCP flows fit into the descriptors that RLIMIT_NOFILE leaves.
  [[nodiscard]] virtual std::size_t flow_capacity() const = 0;
};

}  // namespace shunt
