// SPDX-License-Identifier: GPL-2.0-only
// Why an upstream could not be reached. A held client is told so by the matching errno; an accepted
// one gets a reset; the log says what it was.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shunt {

enum class ConnectReason : std::uint8_t {
  refused,              ///< ECONNREFUSED, or a proxy's reply that says so
  host_unreachable,     ///< EHOSTUNREACH
  network_unreachable,  ///< ENETUNREACH
  timed_out,            ///< ETIMEDOUT, or our own connect deadline
  reset,                ///< the upstream, or the proxy on the way, reset or closed too early
  denied,               ///< the proxy does not allow it (authentication, ruleset)
  proxy_error,          ///< the proxy on the way broke its protocol, or failed in general
  loop,                 ///< the flow is one of our own (proxy/loop_guard.h)
  no_destination,       ///< no original destination, or our own listener was dialled directly
  unsupported,          ///< this way out cannot carry it (UDP through an HTTP proxy)
  resources,            ///< out of descriptors, ports or memory on this machine
  cancelled,            ///< shunt is stopping
  rejected_by_rule,     ///< Flow::rule says which
  dropped_by_rule,      ///< the same; the client is told nothing
  bad_proxy_header,     ///< a plain listener wants a PROXY header from there, and got none or a bad
                        ///< one
  client_gone,          ///< a held client gave up before its upstream was ready
};

struct ConnectFailure {
  ConnectReason reason = ConnectReason::refused;
  int os_error = 0;    ///< errno where one was seen, else 0
  std::string detail;  ///< one line for the log, may be empty; may hold peer-supplied bytes
  /// What a group tried last, as Upstream::via: lives as long as the way out; "": its own name.
  std::string_view via = {};
};

/// Words for the log: "refused", "host unreachable", …
[[nodiscard]] std::string_view reason_text(ConnectReason reason);
/// What a client that connected directly would have got as errno.
[[nodiscard]] int reason_errno(ConnectReason reason);
[[nodiscard]] ConnectFailure failure_from_errno(int os_error);

}  // namespace shunt
