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
#include <utility>
#include <vector>

#include "base/limits.h"
#include "egress/stream_layer.h"
#include "flow/admission.h"
#include "flow/failure.h"
#include "flow/flow.h"
#include "net/task.h"
#include "net/watched_fd.h"

namespace shunt {

/// Is told of every socket that a way out opens towards the network (proxy/loop_guard.h). Any
/// thread.
class UpstreamObserver {
 public:
  virtual ~UpstreamObserver() = default;
  /// Right before connect() is called; opened() or not_opened() follows on the same thread.
  virtual void opening() = 0;
  /// Right after connect() returned, before the answer is awaited: the SYN may already be on its
  /// way back to one of our own listeners.
  virtual void opened(const Endpoint& local, const Endpoint& remote) = 0;
  /// The same of a socket whose local address is a client's (keep-source), not this machine's.
  /// `client` is the flow's source.
  virtual void opened_for_client(const Endpoint& local, const Endpoint& remote,
                                 const Endpoint& client) {
    (void)client;
    opened(local, remote);
  }
  virtual void not_opened() = 0;
  virtual void closed(const Endpoint& local, const Endpoint& remote) = 0;
};

/// Reports opened() once and closed() when it goes; belongs beside the socket it speaks of.
class ReportedUpstream {
 public:
  ReportedUpstream() = default;
  /// `observer` may be null, and so may `client`: whose address the socket bears, if it does.
  /// `remote` is what connect() was given; asks the socket for its local endpoint.
  ReportedUpstream(UpstreamObserver* observer, int fd, const Endpoint& remote,
                   const Endpoint* client = nullptr);
  ReportedUpstream(ReportedUpstream&& other) noexcept
      : observer_(std::exchange(other.observer_, nullptr)),
        local_(other.local_),
        remote_(other.remote_) {}
  ReportedUpstream& operator=(ReportedUpstream&& other) noexcept {
    std::swap(observer_, other.observer_);
    std::swap(local_, other.local_);
    std::swap(remote_, other.remote_);
    return *this;
  }
  ~ReportedUpstream() {
    if (observer_ != nullptr) observer_->closed(local_, remote_);
  }

 private:
  UpstreamObserver* observer_ = nullptr;
  Endpoint local_;
  Endpoint remote_;
};

class WayOut;

/// A TCP upstream: connected, handshakes done, tuned (tune_relayed_tcp), registered with the loop.
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

/// A UDP upstream for one (client, original destination) pair.
struct UdpUpstream {
  /// The payload of a received datagram, without the relays' headers. Empty optional: not for us.
  using Unwrap = std::optional<std::string_view> (*)(const UdpUpstream&, std::string_view datagram);

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
  /// the task.
  virtual Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                                const Hints& hints) const = 0;
  virtual Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                                     const Flow& flow) const = 0;
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
