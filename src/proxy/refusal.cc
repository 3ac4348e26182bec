// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/refusal.h"

#include <algorithm>
#include <array>

namespace shunt {
namespace {

bool reaches(const Endpoint& listener, const Endpoint& destination) {
  if (listener.port != destination.port) return false;
  if (listener.address == destination.address) return true;
  // The kernel takes a connect() to the wildcard address for one to loopback.
  return listener.address.is_any() &&
         (destination.address.is_loopback() || destination.address.is_any());
}

}  // namespace

std::optional<ConnectFailure> own_flow_refusal(const Flow& flow,
                                               std::span<const Endpoint> own_listeners,
                                               const LoopGuard& guard) {
  const Endpoint& destination = flow.original_destination;
  const bool direct_dial = std::ranges::any_of(
      own_listeners, [&](const Endpoint& listener) { return reaches(listener, destination); });
  if (direct_dial) {
    return ConnectFailure{.reason = ConnectReason::no_destination,
                          .detail = "shunt's own listener was dialled"};
  }
  if (destination.port == 0 || destination.address.is_multicast()) {
    return ConnectFailure{.reason = ConnectReason::no_destination, .detail = {}};
  }
  if (guard.is_own(flow.source, destination)) {
    return ConnectFailure{.reason = ConnectReason::loop,
                          .detail = "the client is one of shunt's own upstream sockets"};
  }
  return std::nullopt;
}

bool server_speaks_first(std::uint16_t port) {
  // FTP, SSH, telnet, SMTP, POP3, NNTP, IMAP, mail submission, MySQL, PostgreSQL, VNC. A client of
  // PostgreSQL speaks first, but names no host before the server has answered its SSLRequest.
  static constexpr std::array<std::uint16_t, 11> kPorts = {21,  22,  23,   25,   110, 119,
                                                           143, 587, 3306, 5432, 5900};
  return std::ranges::find(kPorts, port) != kPorts.end();
}

}  // namespace shunt
