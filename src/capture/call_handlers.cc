// SPDX-License-Identifier: GPL-2.0-only
#include "capture/call_handlers.h"

#include <cerrno>
#include <utility>

#include "kernel/capabilities.h"
#include "net/socket.h"

namespace shunt {

CallContext& CallHandlers::captured(CallContext& context, const Parking& parking) {
  context.network = CapturedNetwork(parking.network(), has_capability(CAP_NET_ADMIN));
  return context;
}

CallAnswer CallHandlers::connect(const TrappedCall& call, TrappedSocket socket,
                                 const std::optional<Endpoint>& asked) {
  if (!asked) return connects_.disconnect(socket);
  const Endpoint& destination = *asked;
  const SocketAddress as_asked(destination, socket.family());
  if (!context_.network.has(socket.fd.get())) {
    const int error = context_.network.refusal(destination);
    if (error != 0) return CallAnswer::error(error);
    return connects_.connect_natively(call, std::move(socket), as_asked);
  }
  switch (courses_.of(destination)) {
    case Course::refused: return CallAnswer::error(socket.is_tcp() ? ENETUNREACH : EPERM);
    case Course::captured: break;
    case Course::native:
      if (socket.is_udp() && !destination.address.is_v4()) {
        return datagrams_.connect_natively(call, socket, as_asked);
      }
      return connects_.connect_natively(call, std::move(socket), as_asked);
  }
  if (socket.is_tcp()) return connects_.connect(call, std::move(socket), destination);
  if (socket.is_udp()) return datagrams_.connect(call, socket, destination);
  return CallAnswer::error(ENETUNREACH);
}

std::optional<Endpoint> CallHandlers::shown_peer(const TrappedSocket& socket) {
  const auto peer = peer_endpoint(socket.fd.get());
  if (!peer) return std::nullopt;
  if (!connects_.is_place(*peer)) return datagrams_.meant_by(*peer);
  const auto local = local_endpoint(socket.fd.get());
  return local ? connects_.peer_of(*local, *peer) : std::nullopt;
}

}  // namespace shunt
