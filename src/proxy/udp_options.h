// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/limits.h"
#include "base/udp_limits.h"
#include "capture/capture.h"
#include "flow/flow.h"
#include "flow/process_finder.h"
#include "flow/record.h"
#include "flow/udp_nat.h"
#include "net/endpoint.h"
#include "proxy/fd_budget.h"
#include "proxy/flow_name.h"
#include "proxy/loop_guard.h"
#include "proxy/policy.h"
#include "proxy/quic_connections.h"

namespace shunt {

class DnsService;

struct UdpOptions {
  const CurrentPolicy* policy = nullptr;  ///< needed; outlives the server
  NameEvidence names;                     ///< for rules
  ProcessFinder* processes = nullptr;     ///< for rules; outlives the server; may be null
  std::uint32_t sniff_wait_ms = limits::kSniffWaitMs;
  bool observe_content = true;  ///< read the hellos of QUIC for the log
  Origins* origins = nullptr;   ///< outlives the server; null: original_destination() says it
  std::shared_ptr<ReplySockets> reply_sockets;
  std::vector<Endpoint> own_listeners;    ///< datagrams to these go nowhere
  const LoopGuard* loop_guard = nullptr;  ///< needed; outlives the server
  FdBudget* fds = nullptr;                ///< outlives the server; may be null
  FlowLog* log = nullptr;                 ///< outlives the server; may be null
  DnsService* dns = nullptr;              ///< outlives the server; null: queries are flows
  QuicConnections* quic = nullptr;        ///< outlives the server; null: none is known again
  CaptureMethod method = CaptureMethod::tproxy;
  std::function<std::uint64_t()> next_flow_id;  ///< needed
  std::optional<Endpoint> (*original_destination)(const msghdr&) = datagram_destination;

  UdpNat nat;
  std::size_t most_sessions = limits::kUdpSessions;
  std::size_t most_sessions_per_client = limits::kUdpSessionsPerClient;
  std::size_t most_mappings = limits::kUdpMappings;
  std::size_t most_mappings_per_client = limits::kUdpMappingsPerClient;
  std::size_t most_reply_sockets = limits::kUdpReplySockets;
  std::uint32_t reply_idle_ms = limits::kUdpReplyIdleMs;
  std::uint32_t refused_timeout_ms = limits::kUdpRefusedTimeoutMs;
};

}  // namespace shunt
