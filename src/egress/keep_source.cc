// SPDX-License-Identifier: GPL-2.0-only
#include "egress/keep_source.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "egress/astray_probe.h"
#include "egress/dial.h"
#include "egress/own_addresses.h"
#include "egress/race.h"
#include "flow/name_resolver.h"

namespace shunt {
namespace {

using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

ConnectFailure not_for(std::string detail) {
  return {.reason = ConnectReason::unsupported, .os_error = 0, .detail = std::move(detail)};
}

class KeepSource : public WayOut {
 public:
  KeepSource(UpstreamOptions options, KeepSourceOptions keep, std::string name)
      : options_(std::move(options)),
        keep_(std::move(keep)),
        name_(std::move(name)),
        probe_(name_, options_) {}

  std::string_view name() const override { return name_; }
  bool wants_name() const override { return false; }
  bool carries_udp() const override { return true; }
  /// With the client's port both connections have one entry in conntrack, and the client's is to be
  /// the first in it.
  ConnectMode connect_mode() const override {
    return keep_.port ? ConnectMode::early : ConnectMode::automatic;
  }

  Task<Expected<Upstream>> connect(EventLoop& loop, const Flow& flow, const Hints&) const override {
    const auto kept = kept_for(flow);
    if (!kept) co_return unexpected(kept.error());
    auto attempt = begin(flow.original_destination, SocketType::stream, *kept);
    if (!attempt) co_return unexpected(std::move(attempt).error());
    auto dialled = co_await finish_dial(loop, std::move(*attempt), flow.original_destination,
                                        flow.dial_ms(options_.connect_timeout_ms));
    if (!dialled) {
      co_await look_astray(loop, flow, flow.original_destination, dialled.error().reason);
      co_return unexpected(std::move(dialled).error());
    }
    co_return Upstream{.socket = std::move(dialled->socket),
                       .reported = std::move(dialled->reported),
                       .early_data = {}};
  }

  Task<Expected<Upstream>> connect_to_name(EventLoop& loop, const Flow& flow,
                                           const Hints& hints) const override {
    const auto addresses = co_await hints.resolver->resolve(flow, hints.host);
    if (!addresses) co_return unexpected(addresses.error());
    const auto order = attempt_order(*addresses, 0);
    const BeginAttempt begin_one = [this, &flow](const Endpoint& destination) -> Expected<Attempt> {
      Flow to = flow;
      to.original_destination = destination;
      const auto kept = kept_for(to);
      if (!kept) return unexpected(kept.error());
      return begin(destination, SocketType::stream, *kept);
    };
    const std::uint32_t timeout_ms = flow.dial_ms(options_.connect_timeout_ms);
    auto won = co_await race(loop, order, begin_one, timeout_ms);
    if (!won) {
      co_await look_astray(loop, flow, order.front(), won.error().reason);
      co_return unexpected(std::move(won).error());
    }
    co_return Upstream{.socket = std::move(won->dialled.socket),
                       .reported = std::move(won->dialled.reported),
                       .early_data = {},
                       .looked_up = won->address};
  }

  Task<Expected<UdpUpstream>> associate(EventLoop& loop, const Flow& flow) const override {
    const auto kept = kept_for(flow);
    if (!kept) co_return unexpected(kept.error());
    auto attempt = begin(flow.original_destination, SocketType::datagram, *kept);
    if (!attempt) co_return unexpected(std::move(attempt).error());
    auto dialled = finish_dial_udp(loop, std::move(*attempt));
    if (!dialled) co_return unexpected(std::move(dialled).error());
    UdpUpstream upstream;
    upstream.socket = std::move(dialled->socket);
    upstream.reported = std::move(dialled->reported);
    co_return upstream;
  }

 private:
  /// Why it may be that nobody answered what bears a client's address.
  Task<> look_astray(EventLoop& loop, const Flow& flow, const Endpoint& destination,
                     ConnectReason reason) const {
    const bool borrowed = !flow.source.address.is_any() && !own_.contains(flow.source.address);
    if (!borrowed || reason != ConnectReason::timed_out) co_return;
    co_await probe_.look(loop, flow.source.address, destination);
  }

  /// Nothing for what has no client: a check of shunt's own. A client that was announced without
  /// an address is no such thing.
  Expected<std::optional<KeptSource>> kept_for(const Flow& flow) const {
    const Address& client = flow.source.address;
    if (client.is_any() && flow.announced == nullptr) return std::nullopt;
    if (client.family() != flow.original_destination.address.family()) {
      return unexpected(not_for(client.text() + " is no address of the destination's family"));
    }
    if (own_.contains(client)) {
      // Who sends a PROXY header may not speak for this machine.
      if (flow.announced != nullptr) {
        return unexpected(not_for("keep-source: " + client.text() + " is this machine's own"));
      }
      return KeptSource{.client = flow.source, .port = false, .own = true};
    }
    if (client.is_any() || client.is_loopback() || client.is_multicast() ||
        client.is_link_local()) {
      return unexpected(not_for("keep-source: " + client.text() + " is no address to send from"));
    }
    // The kernel routes nothing from 127.0.0.0/8 to another address (__mkroute_output()): the
    // server's answer would fail before any rule of ours could see it. IPv6 does.
    const Address& server = flow.original_destination.address;
    if (server.is_v4() && server.is_loopback()) {
      return unexpected(not_for("keep-source: a server on " + server.text() + " cannot answer " +
                                client.text() + "; let it listen on another address"));
    }
    const bool named =
        keep_.from.empty() || std::ranges::any_of(keep_.from, [&client](const Network& network) {
          return network.contains(client);
        });
    if (!named) return unexpected(not_for("keep-source-from does not name " + client.text()));
    return KeptSource{.client = flow.source, .port = keep_.port, .own = false};
  }

  Expected<Attempt> begin(const Endpoint& destination, SocketType type,
                          std::optional<KeptSource> kept) const {
    auto attempt = begin_attempt(destination, type, options_, kept ? &*kept : nullptr);
    if (attempt || !kept || !kept->port) return attempt;
    const int error = attempt.error().os_error;
    if (error != EADDRINUSE && error != EADDRNOTAVAIL) return attempt;
    kept->port = false;
    return begin_attempt(destination, type, options_, &*kept);
  }

  UpstreamOptions options_;
  KeepSourceOptions keep_;
  std::string name_;
  OwnAddresses own_;
  AstrayProbe probe_;
};

}  // namespace

std::shared_ptr<const WayOut> make_keep_source(const UpstreamOptions& options,
                                               KeepSourceOptions keep, std::string name) {
  return std::make_shared<KeepSource>(options, std::move(keep), std::move(name));
}

}  // namespace shunt
