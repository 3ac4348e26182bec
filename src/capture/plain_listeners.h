// SPDX-License-Identifier: GPL-2.0-only
// Plain listeners: addresses that clients dial on purpose, [listen.NAME] of a configuration. What
// arrives there was going to the listener itself; where it goes on to is the listener's `to`, or
// what a PROXY header says that a proxy in front of shunt sends (capture/proxy_header.h).
//
// Who may send such a header is said by networks: from those it is required, from all others there
// is none, and bytes that look like one are the client's own. Otherwise whoever reaches the
// listener could claim any source address.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "net/network.h"

namespace shunt {

/// Addresses of this machine that stand for destinations elsewhere, where a capture sends a
/// program's datagrams to its own listener.
class DatagramStandIns {
 public:
  virtual ~DatagramStandIns() = default;
  /// What a datagram was meant for that was received at this address; nothing: nobody knows. On the
  /// thread of the listener's worker.
  virtual std::optional<Endpoint> meant_by(const Endpoint& received_at) = 0;
  /// Whether a captured program has the socket that sends from there: whoever is on this machine
  /// can send to its loopback addresses. On the same thread.
  virtual bool is_client(const Endpoint& sender) = 0;
  /// Of the flows.
  [[nodiscard]] virtual CaptureMethod method() const = 0;
};

struct PlainListener {
  std::string name;  ///< of the table: [listen.NAME]
  std::vector<Endpoint> addresses;
  std::optional<Endpoint> to{};         ///< empty: where the PROXY header says
  std::vector<Network> accept_proxy{};  ///< who must send a PROXY header
  bool tcp = true;
  bool udp = false;
  /// As WayOutSpec::place; the keys are those of the table, "" is the table itself.
  std::function<std::string(std::string_view key)> place{};
  /// Not null: it belongs to a capture, and they say where each datagram goes.
  std::shared_ptr<DatagramStandIns> stand_ins{};

  [[nodiscard]] bool wants_header(const Address& peer) const;
  /// "192.0.2.1:8443 (web): tcp, PROXY header from 10.0.0.0/8, to 10.0.0.5:443".
  [[nodiscard]] std::string text() const;
  /// The same listener, `place` apart.
  [[nodiscard]] bool same(const PlainListener& other) const;
};

/// Finds what is impossible or contradicts itself: Kind::configuration, with its place. Pure.
Result<void> check_plain_listeners(std::span<const PlainListener> listeners);

/// Opens a socket of every address for each worker, in the network namespace of the calling thread,
/// and appends it to the worker's set. They listen at once. An address that cannot be had is an
/// error with its place; no other process's listener is ever shared. `mark` (0: none) goes onto
/// the sockets where it may.
Result<void> open_plain_listeners(std::span<const PlainListener> listeners,
                                  std::vector<ListenerSet>& workers, std::uint32_t mark);

/// For ProxyOptions::own_listeners.
[[nodiscard]] std::vector<Endpoint> own_endpoints(std::span<const PlainListener> listeners);

/// Says of a connection from `captured.flow.source` that `listener` accepted where it goes, or how
/// that is learnt.
void introduce(const std::shared_ptr<const PlainListener>& listener, Captured& captured);

}  // namespace shunt
