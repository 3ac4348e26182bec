// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/udp_failure.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>

#include "base/log.h"
#include "dns/message.h"

namespace shunt {

std::optional<Undeliverable> undeliverable(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::refused:
    case ConnectReason::rejected_by_rule:
    case ConnectReason::unsupported: return Undeliverable::port;
    case ConnectReason::host_unreachable:
    case ConnectReason::timed_out:
    case ConnectReason::reset:
    case ConnectReason::proxy_error: return Undeliverable::host;
    case ConnectReason::network_unreachable: return Undeliverable::network;
    case ConnectReason::denied: return Undeliverable::prohibited;
    case ConnectReason::loop:
    case ConnectReason::no_destination:
    case ConnectReason::dropped_by_rule:
    case ConnectReason::client_gone:
    case ConnectReason::bad_proxy_header:
    case ConnectReason::resources:
    case ConnectReason::cancelled: return std::nullopt;
  }
  return std::nullopt;
}

Counter counter_of_refusal(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::rejected_by_rule: return Counter::flows_rejected;
    case ConnectReason::dropped_by_rule: return Counter::flows_dropped;
    default: return Counter::flows_refused;
  }
}

bool is_permanent(ConnectReason reason) {
  return reason == ConnectReason::unsupported || reason == ConnectReason::rejected_by_rule ||
         reason == ConnectReason::dropped_by_rule;
}

std::optional<Undeliverable> undeliverable_from_errno(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ENOPROTOOPT: return Undeliverable::port;
    case EHOSTUNREACH: return Undeliverable::host;
    case ENETUNREACH: return Undeliverable::network;
    case EACCES: return Undeliverable::prohibited;
    case EMSGSIZE: return Undeliverable::too_big;
    default: return std::nullopt;
  }
}

void warn_of_lost_names(const Flow& flow, const ConnectFailure& failure) {
  static std::atomic_flag said;
  const bool query = flow.original_destination.port == dns::kPort;
  if (!query || failure.reason != ConnectReason::unsupported || said.test_and_set()) return;
  log(LogLevel::warning,
      fmt::format("names are not found: {} carries no UDP, and so no query of DNS. Use --dns "
                  "fake-ip (the proxy looks names up) or --dns remote --dns-server tcp://ADDRESS, "
                  "in a file: [dns] mode",
                  flow.way_out));
}

}  // namespace shunt
