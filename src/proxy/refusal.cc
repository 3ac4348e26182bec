// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/refusal.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "kernel/local_destination.h"

namespace shunt {
namespace {

bool reaches(const Endpoint& listener, const Endpoint& destination) {
  if (listener.port != destination.port) return false;
  if (listener.address == destination.address) return true;
  return listener.address.is_any() && ends_on_this_machine(destination.address);
}

/// Where the capture knows who connected, that says it all (eBPF shows us another local address
/// than the listener sees). A connection to a plain listener went to the listener's own address;
/// what a PROXY header says may be a socket of ours that another proxy handed back.
bool is_loop(const Flow& flow, const LoopGuard& guard) {
  if (flow.process != nullptr && flow.process->pid == ::getpid()) return true;
  if (flow.protocol == Protocol::udp && guard.is_own_datagram(flow.source)) return true;
  if (flow.method != CaptureMethod::listener) {
    return guard.is_own(flow.source, flow.original_destination);
  }
  if (flow.announced == nullptr) return guard.is_own(flow.source, flow.received_at);
  const Announcement& said = *flow.announced;
  return guard.is_own(said.sender, flow.received_at) || guard.is_own(flow.source, said.destination);
}

}  // namespace

std::optional<ConnectFailure> own_flow_refusal(const Flow& flow,
                                               std::span<const Endpoint> own_listeners,
                                               const LoopGuard& guard) {
  const Endpoint& destination = flow.original_destination;
  if (reaches_own_listener(destination, own_listeners)) {
    return ConnectFailure{.reason = ConnectReason::no_destination,
                          .detail = "shunt's own listener was dialled"};
  }
  if (destination.port == 0 || destination.address.is_multicast()) {
    return ConnectFailure{.reason = ConnectReason::no_destination, .detail = {}};
  }
  if (is_loop(flow, guard)) {
    return ConnectFailure{.reason = ConnectReason::loop,
                          .detail = "the client is one of shunt's own upstream sockets"};
  }
  return std::nullopt;
}

bool reaches_own_listener(const Endpoint& destination, std::span<const Endpoint> own_listeners) {
  return std::ranges::any_of(
      own_listeners, [&](const Endpoint& listener) { return reaches(listener, destination); });
}

bool server_speaks_first(std::uint16_t port) {
  // FTP, SSH, telnet, SMTP, POP3, NNTP, IMAP, mail submission, MySQL, PostgreSQL, VNC. A client of
  // PostgreSQL speaks first, but names no host before the server has answered its SSLRequest.
  static constexpr std::array<std::uint16_t, 11> kPorts = {21,  22,  23,   25,   110, 119,
                                                           143, 587, 3306, 5432, 5900};
  return std::ranges::find(kPorts, port) != kPorts.end();
}

}  // namespace shunt
