// SPDX-License-Identifier: GPL-2.0-only
// Decides about one UDP session, as decide_flow.h does about a TCP flow. The first datagram tells
// what it speaks, and a process is looked up at once; only a name may have to be awaited:
//
//   the hello of QUIC   may span several datagrams, which wait in the session meanwhile
//   verification        a lookup of the name (proxy/name_verifier.h)
//
// both together for sniff_wait_ms. One that gives no name goes by the name that DNS gave its
// address (dns/memory.h). A session that its rules decide without is decided at once.
#pragma once

#include <cstdint>

#include "flow/process_finder.h"
#include "net/event_loop.h"
#include "net/task.h"
#include "proxy/flow_name.h"
#include "proxy/udp_session.h"

namespace shunt {

struct UdpDecideContext {
  EventLoop& loop;
  NameEvidence names;
  ProcessFinder* processes = nullptr;  ///< null: no session has a process
  std::uint32_t sniff_wait_ms = 0;
};

/// Sets what Flow tells of a decision, and counts the hit, unless the session ends first. The
/// session's first facts are known, and it outlives the task.
Task<> decide_session(UdpDecideContext context, UdpSession& session);

/// UdpSession::hello is settled, or the session has ended: whoever waits for that goes on, in the
/// loop's next turn.
void wake_decision(EventLoop& loop, UdpSession& session);

}  // namespace shunt
