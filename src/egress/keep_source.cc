// SPDX-License-Identifier: GPL-2.0-only
#include "egress/keep_source.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "egress/astray_probe.h"
#include "egress/dial.h"
#include "egress/own_addresses.h"

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
                                        options_.connect_timeout_ms);
    if (!dialled) {
      const bool borrowed = *kept && !(*kept)->own;
      if (borrowed && dialled.error().reason == ConnectReason::timed_out) {
        co_await probe_.look(loop, flow.source.address, flow.original_destination);
      }
      co_return unexpected(std::move(dialled).error());
    }
    co_return Upstream{.socket = std::move(dialled->socket),
                       .reported = std::move(dialled->reported),
                       .early_data = {}};
  }

  Task<Expected<UdpUpstream>> associate(EventLoop& loop, const Flow& flow) const override {
    const auto kept = kept_for(flow);
    if (!kept) co_return unexpected(kept.error());
    auto attempt = begin(flow.original_destination, SocketType::datagram, *kept);
    if (!attempt) co_return unexpected(std::move(attempt).error());
    auto socket = WatchedFd::create(loop, std::move(attempt->fd), Slot::kWritable);
    if (!socket) co_return unexpected(failure_from_errno(socket.error().os_error));
    UdpUpstream upstream;
    upstream.socket = std::move(*socket);
    upstream.reported = std::move(attempt->reported);
    co_return upstream;
  }

 private:
  /// Nothing for what has no client: a check of shunt's own.
  Expected<std::optional<KeptSource>> kept_for(const Flow& flow) const {
    const Address& client = flow.source.address;
    if (client.is_any()) return std::nullopt;
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
    if (client.is_loopback() || client.is_multicast() || client.is_link_local()) {
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
