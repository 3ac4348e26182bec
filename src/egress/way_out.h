// SPDX-License-Identifier: GPL-2.0-only
// A way out carries a flow to its destination: directly, or through a proxy. Immutable after it is
// made and shared by all workers; each call runs on the loop of the flow's worker.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "egress/reported_upstream.h"
#include "egress/stream_layer.h"
#include "flow/admission.h"
#include "flow/failure.h"
#include "flow/flow.h"
#include "net/task.h"
#include "net/watched_fd.h"

namespace shunt {

class WayOut;

/// A TCP upstream: connected, handshakes done, registered with the loop. Whoever relays it keeps
/// urgent bytes in line, once the client has been let in: until then each system call is waited
/// for.
struct Upstream {
  WatchedFd socket;
  ReportedUpstream reported;
  std::string early_data;  ///< what arrived behind a proxy's reply: the upstream's first bytes
  /// What stands between the socket and the bytes (TLS to a proxy); null: nothing does.
  std::unique_ptr<StreamLayer> layer = nullptr;
  /// What a group chose, "eu (paris)", as long as the way out lives; "": the way out's own name.
  std::string_view via = {};
  /// The member of a group that made it, which lives as long as the group; null: no group did.
  const WayOut* member = nullptr;
  /// Where it leads, if that was looked up: connect_to_name().
  std::optional<Endpoint> looked_up = {};
};

/// A TCP connection that a SOCKS5 association lives by: readable once the proxy has ended it.
struct AssociationControl {
  WatchedFd socket;
  ReportedUpstream reported;
};

/// A UDP upstream for one (client, original destination) pair; or, from WayOut::open_mapping(), for
/// one client socket and whatever it sends to.
struct UdpUpstream {
  /// The payload of a received datagram, without the relays' headers. Empty optional: not for us.
  using Unwrap = std::optional<std::string_view> (*)(const UdpUpstream&, std::string_view datagram);

  struct Received {
    Endpoint peer;
    std::string_view payload;
  };
  /// How datagrams of a mapping look to a relay.
  struct Relaying {
    std::string (*header)(const UdpUpstream&, const Endpoint& destination);  ///< goes before each
    std::optional<Received> (*unwrap)(const UdpUpstream&, std::string_view datagram);
  };

  WatchedFd socket;  ///< connected: to the destination, or to a proxy's relay address
  ReportedUpstream reported;
  /// SOCKS5: one for each proxy on the way; it is over when one of them is.
  std::vector<AssociationControl> controls;
  std::string header;  ///< goes before each datagram sent (SOCKS5 UDP request headers), often ""
  std::size_t relay_headers = 0;  ///< how many relays' headers `header` begins with
  Unwrap unwrap = [](const UdpUpstream&, std::string_view datagram) {
    return std::optional(datagram);
  };
  std::string_view via = {};  ///< as in Upstream
  std::optional<Endpoint> looked_up = {};
  /// A mapping's: null where its socket is not connected, and sends to each peer itself.
  const Relaying* relaying = nullptr;
  const WayOut* member = nullptr;  ///< a mapping's, as in Upstream
};

class WayOut {
 public:
  virtual ~WayOut() = default;
  /// For the log: "direct", "socks5://127.0.0.1:1080"; never holds a secret.
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Whether connect() makes use of Hints::host, so that it pays to wait for a name.
  [[nodiscard]] virtual bool wants_name() const = 0;
  [[nodiscard]] virtual bool carries_udp() const = 0;
  /// Whether datagrams to the relay of a proxy that is reached through this way out arrive there as
  /// they were sent, whichever member of a group carries them.
  [[nodiscard]] virtual bool reaches_relays() const { return carries_udp(); }
  /// The addresses of the proxy, valid while this lives; empty where there is none.
  [[nodiscard]] virtual std::span<const Endpoint> proxies() const { return {}; }
  /// Deadlines as in UpstreamOptions, which the way out was made with. `flow` and `hints` outlive
  /// the task. The socket may be without TCP_NODELAY as long as nothing was sent by it: relay()
  /// sees to that, others call send_without_delay() before they send twice.
  virtual Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                                const Hints& hints) const = 0;
  virtual Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                                     const Flow& flow) const = 0;
  /// Whether open_mapping() can be asked.
  [[nodiscard]] virtual bool maps_clients() const { return false; }
  /// One upstream for all that flow.source sends to destinations of the family of flow's. Takes the
  /// client's own port where it is free.
  virtual Task<std::expected<UdpUpstream, ConnectFailure>> open_mapping(EventLoop& loop,
                                                                        const Flow& flow) const;
  /// Whether a new flow of that family would still go where that mapping leads.
  [[nodiscard]] virtual bool still_maps(const UdpUpstream& /*mapping*/, Family /*family*/) const {
    return true;
  }
  /// Whether the proxy answers, without a connection to anywhere: it is connected to, and spoken to
  /// for as long as its protocol allows without a request. `by` is as Flow::dial_by. Where there is
  /// no proxy to ask: unsupported.
  virtual Task<std::expected<void, ConnectFailure>> greet(EventLoop& loop,
                                                          Clock::time_point by) const;
  /// As connect() and associate() for a flow whose destination is a name (hints.resolver is not
  /// null). By default the name is looked up and its addresses are tried one after the other;
  /// whoever wraps a way out forwards both (wrapped_way_out.h).
  virtual Task<std::expected<Upstream, ConnectFailure>> connect_to_name(EventLoop& loop,
                                                                        const Flow& flow,
                                                                        const Hints& hints) const;
  virtual Task<std::expected<UdpUpstream, ConnectFailure>> associate_to_name(
      EventLoop& loop, const Flow& flow, const Hints& hints) const;
  /// When its clients are let in; automatic: the rule or the capture says.
  [[nodiscard]] virtual ConnectMode connect_mode() const { return ConnectMode::automatic; }
};

class ToaProgram;  // kernel/toa.h

/// What an upstream socket gets. The first two are the process's, the same for every way out.
struct UpstreamOptions {
  std::uint32_t mark = 0;                ///< SO_MARK: guard one against loops; 0: none is set
  UpstreamObserver* observer = nullptr;  ///< outlives every upstream; may be null
  std::uint32_t connect_timeout_ms = limits::kConnectTimeoutMs;      ///< ours, or a proxy's for us
  std::uint32_t handshake_timeout_ms = limits::kHandshakeTimeoutMs;  ///< greeting, authentication
  std::uint32_t kept_mark = 0;            ///< in place of `mark` where a client's address is kept
  std::uint32_t user_mark = 0;            ///< bits of SO_MARK beside `mark`; 0: none
  std::string interface = {};             ///< SO_BINDTODEVICE; "": whichever the routes say
  std::optional<Address> source_v4 = {};  ///< with one of the two, the other family has no way out
  std::optional<Address> source_v6 = {};
  /// Puts `client` into a TCP option of the SYN; null: does not.
  std::shared_ptr<const ToaProgram> toa = nullptr;
  Endpoint client = {};
};

}  // namespace shunt
