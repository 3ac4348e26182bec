// SPDX-License-Identifier: GPL-2.0-only
// A connection to an upstream proxy while its handshake lasts. What the proxy sends is collected
// here until the handshake has taken its part; the rest is the upstream's early data.
#pragma once

#include <atomic>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "egress/address_book.h"
#include "egress/dial.h"
#include "egress/tls_client.h"
#include "egress/way_out.h"

namespace shunt {

struct Credentials {
  std::string user;
  std::string password;
};

/// Where and how a proxy is spoken to.
struct ProxyServer {
  std::string name;                 ///< "socks5://proxy.example:1080": for logs, no secrets
  std::vector<Endpoint> addresses;  ///< not empty; raced, beginning with the last good one
  std::optional<Credentials> credentials;
  UpstreamOptions options;
  /// The connection to the server is made through this one (a chain); null: it is dialled. The
  /// addresses are then tried one after the other.
  std::shared_ptr<const WayOut> through = nullptr;
  std::shared_ptr<const TlsClient> tls = nullptr;     ///< the server is spoken to within TLS
  std::shared_ptr<const AddressBook> book = nullptr;  ///< goes before `addresses`; may be null
  bool resolved_by_hop = false;  ///< `through` takes `host`; `addresses` only holds the port
  std::string host = {};  ///< the server's name as configured: for hops that resolve by themselves
  mutable std::atomic<std::size_t> last_good = 0;  ///< a hint, shared by all workers

  ProxyServer(std::string the_name, std::vector<Endpoint> the_addresses,
              std::optional<Credentials> the_credentials, UpstreamOptions the_options)
      : name(std::move(the_name)),
        addresses(std::move(the_addresses)),
        credentials(std::move(the_credentials)),
        options(std::move(the_options)) {}

  /// Where the connection goes first: the server, or what leads there.
  [[nodiscard]] std::span<const Endpoint> first_proxies() const {
    return through != nullptr ? through->proxies() : addresses;
  }
};

class ProxyLink {
 public:
  template <class T>
  using Expected = std::expected<T, ConnectFailure>;

  /// Dials the server's addresses within the connect timeout, or asks the hop before it to; then
  /// TLS, where the server is spoken to so.
  /// `server` outlives the link, `flow` (whose connection will be carried) the task.
  static Task<Expected<ProxyLink>> open(EventLoop& loop, const ProxyServer& server,
                                        const Flow& flow);

  /// No more than open(), for nobody's flow, until `by` at the latest.
  static Task<Expected<void>> greet(EventLoop& loop, const ProxyServer& server,
                                    Clock::time_point by);

  /// All of it, waiting where the socket is full. `bytes` outlives the task.
  Task<Expected<void>> send(std::string_view bytes, Deadline deadline);
  /// Appends at least one byte to received().
  Task<Expected<void>> receive(Deadline deadline);

  [[nodiscard]] std::string_view received() const { return received_; }
  void consume(std::size_t size) { received_.erase(0, size); }
  [[nodiscard]] const Endpoint& address() const { return address_; }
  /// What the connection was made through, of a group the member; null: it was dialled.
  [[nodiscard]] const WayOut* hop() const { return hop_; }

  /// A failure of the proxy itself: "NAME what".
  [[nodiscard]] ConnectFailure broken(std::string_view what,
                                      ConnectReason reason = ConnectReason::proxy_error) const;
  /// The handshake is done.
  Upstream into_upstream() &&;
  /// The connection lives on by itself: its slot is readable only when something has arrived, or it
  /// has ended.
  AssociationControl into_control() &&;

 private:
  ProxyLink(EventLoop& loop, const ProxyServer& server, const Endpoint& address, Upstream upstream)
      : loop_(&loop),
        server_(&server),
        address_(address),
        upstream_(std::move(upstream)),
        received_(std::move(upstream_.early_data)) {}
  static Task<Expected<ProxyLink>> open_plainly(EventLoop& loop, const ProxyServer& server,
                                                const Flow& flow);
  static Task<Expected<ProxyLink>> open_through(EventLoop& loop, const ProxyServer& server,
                                                const Flow& flow);
  [[nodiscard]] ConnectFailure lost(int os_error) const;
  [[nodiscard]] ConnectFailure in_our_words(ConnectFailure failure) const;

  EventLoop* loop_;
  const ProxyServer* server_;
  Endpoint address_;
  const WayOut* hop_ = nullptr;
  Upstream upstream_;
  std::string received_;
};

}  // namespace shunt
