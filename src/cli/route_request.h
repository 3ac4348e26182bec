// SPDX-License-Identifier: GPL-2.0-only
// What `shunt route` is asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/routed_sockets.h"
#include "net/endpoint.h"

namespace shunt::cli {

class Options;

struct Gateway {
  Address address;
  std::string interface;  ///< that reaches it
};

struct RouteRequest {
  SocketRoute sockets;            ///< `mark` as given: RouteRules may choose one
  std::vector<Gateway> gateways;  ///< at most one of each family
  /// By the interface of `sockets` itself, which has no neighbours to ask (a tunnel).
  std::vector<Family> device_routes;
  std::uint32_t table = 0;    ///< 0: none was named
  std::string resolver_file;  ///< the text of resolv.conf(5); "": the machine's own

  /// Rules and routes are needed, not just options of sockets.
  [[nodiscard]] bool by_rules() const {
    return table != 0 || !gateways.empty() || !device_routes.empty();
  }
  /// The command's sockets are made for it.
  [[nodiscard]] bool by_sockets() const {
    return by_rules() || sockets.mark != 0 || !sockets.interface.empty() || sockets.has_source();
  }
};

/// The options, checked against the interfaces and addresses that there are now. Kind::usage where
/// they make no sense.
Result<RouteRequest> parse_route_request(const Options& options);

/// What reaches other networks by the request's interface, as the main table has it: for traffic
/// that is routed by a mark, where sockets cannot be bound to it. Fails where there is nothing.
Result<void> route_by_interface(RouteRequest& request);

/// "interface wan1, gateway 192.0.2.1, mark 0x10": what the traffic gets.
std::string text_of(const RouteRequest& request);

/// What the request leaves to chance, as warnings for people: answers that the kernel would drop,
/// an interface that leads nowhere.
void warn_of_dead_ends(const RouteRequest& request);

}  // namespace shunt::cli
