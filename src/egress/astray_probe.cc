// SPDX-License-Identifier: GPL-2.0-only
#include "egress/astray_probe.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "base/limits.h"
#include "base/log.h"
#include "base/turn.h"
#include "egress/dial.h"
#include "kernel/network_towards.h"

namespace shunt {
namespace {

/// connect() of a datagram socket is a route lookup; nothing is sent.
std::optional<Address> own_address_towards(const Endpoint& destination,
                                           const UpstreamOptions& options) {
  UpstreamOptions quiet = options;
  quiet.observer = nullptr;
  const auto attempt = begin_attempt(destination, SocketType::datagram, quiet);
  if (!attempt) return std::nullopt;
  const auto local = local_endpoint(attempt->fd.get());
  if (!local) return std::nullopt;
  return local->address;
}

}  // namespace

std::string astray_text(const std::string& way_out, const Endpoint& destination, const Address& own,
                        const Address& client, const std::string& client_network) {
  const std::string what = fmt::format(
      "way out \"{}\" keeps clients' addresses: {} answers this machine ({}), but not {}, whose "
      "connection had no answer: ",
      way_out, destination.text(), own.text(), client.text());
  if (client.is_private() && !destination.address.is_private()) {
    return what + fmt::format(
                      "it may know no way back to a private address; if it is on a network "
                      "of yours, let it route {} via {}, else use a way out without "
                      "keep-source for it",
                      client_network, own.text());
  }
  return what + fmt::format(
                    "its answers take another way; on the server, or the router before it, "
                    "route {} via this machine: ip route add {} via {}",
                    client_network, client_network, own.text());
}

bool AstrayProbe::may_look(const Address& server) const {
  const auto now = Clock::now();
  const auto again = std::chrono::milliseconds(limits::kAstrayAgainMs);
  const std::scoped_lock lock(mutex_);
  std::erase_if(looked_at_, [&](const auto& entry) { return now - entry.second > again; });
  if (looked_at_.size() >= limits::kAstrayServers) return false;
  return looked_at_.emplace(server, now).second;
}

Task<> AstrayProbe::look(EventLoop& loop, Address client, Endpoint destination) const {
  const Turn turn(running_, limits::kAstrayProbes);
  if (!turn.taken() || !may_look(destination.address)) co_return;
  const auto dialled = co_await dial_tcp(loop, destination, options_, limits::kAstrayProbeMs);
  if (!dialled && dialled.error().reason != ConnectReason::refused) co_return;
  const auto own = own_address_towards(destination, options_);
  if (!own) co_return;
  log(LogLevel::warning,
      astray_text(way_out_, destination, *own, client, network_towards(client).text()));
}

}  // namespace shunt
