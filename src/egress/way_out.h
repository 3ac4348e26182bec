// SPDX-License-Identifier: GPL-2.0-only
// A way out carries a flow to its destination: directly, or through a proxy. Immutable after it is
// made and shared by all workers; each call runs on the loop of the flow's worker.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "flow/failure.h"
#include "flow/flow.h"
#include "net/task.h"
#include "net/watched_fd.h"

namespace shunt {

/// A TCP upstream: connected, handshakes done, tuned (tune_relayed_tcp), registered with the loop.
struct Upstream {
  WatchedFd socket;
  std::string early_data;  ///< what arrived behind a proxy's reply: the upstream's first bytes
};

/// A UDP upstream for one (client, original destination) pair.
struct UdpUpstream {
  WatchedFd socket;    ///< connected: to the destination, or to a proxy's relay address
  WatchedFd control;   ///< SOCKS5: the TCP connection that the association lives by; else not valid
  std::string header;  ///< goes before each datagram sent (SOCKS5 UDP request header), often ""
  /// The payload of a received datagram, without the relay's header. Empty optional: not for us.
  std::optional<std::string_view> (*unwrap)(const UdpUpstream&, std::string_view datagram);
};

class WayOut {
 public:
  virtual ~WayOut() = default;
  /// For the log: "direct", "socks5://127.0.0.1:1080"; never holds a secret.
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Whether connect() makes use of Hints::host, so that it pays to wait for a name.
  [[nodiscard]] virtual bool wants_name() const = 0;
  [[nodiscard]] virtual bool carries_udp() const = 0;
  /// Deadlines are limits::kConnectTimeoutMs and kHandshakeTimeoutMs.
  virtual Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                                const Hints& hints) const = 0;
  virtual Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                                     const Flow& flow) const = 0;
};

/// What every upstream socket of this process gets, whatever its way out.
struct UpstreamOptions {
  std::uint32_t mark = 0;  ///< SO_MARK: guard one against loops; 0 where it cannot be set
};

}  // namespace shunt
