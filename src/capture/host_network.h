// SPDX-License-Identifier: GPL-2.0-only
// What a program sees of the network from here, so that a capture namespace can look the same to
// it. In that namespace every address is local; without further care a program there would believe
// that it can reach everything, over IPv6 as well. It would then prefer IPv6 on a host that has
// none (RFC 6724 sorts by whether, and from which source, a destination can be reached), connect,
// be accepted by the proxy, and fail where it would have succeeded over IPv4. So the namespace gets
//  - a family's `local default` only if the host can reach the world over that family, else the
//    host's own routes of it, else nothing: connect() then says ENETUNREACH as it does outside;
//  - the host's own source addresses, so that the sorting comes out the same, and programs that
//    bind to their address or tell it to others (FTP, SIP) still can.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/endpoint.h"

namespace shunt {

struct Destinations {
  Address address;
  std::uint8_t prefix_length = 0;
  auto operator<=>(const Destinations&) const = default;
};

struct HostFamily {
  std::optional<Address> source;     ///< empty: the family cannot be used
  std::vector<Destinations> routes;  ///< what can be reached; empty without a source
  bool operator==(const HostFamily&) const = default;
};

struct HostNetwork {
  HostFamily ipv4;
  HostFamily ipv6;
  bool operator==(const HostNetwork&) const = default;
};

/// As the calling thread's network namespace is now. Sends nothing. `through_proxy`: an upstream
/// proxy knows more of the world than this host's routes, so IPv4 is usable in any case.
HostNetwork look_at_host(bool through_proxy);

/// The name servers of a resolv.conf that are loopback addresses: they mean the host's. A file
/// that names none at all stands for 127.0.0.1 and ::1 (resolv.conf(5); Go tries both).
std::vector<Address> loopback_name_servers(std::string_view resolv_conf);
/// The same for /etc/resolv.conf.
std::vector<Address> loopback_name_servers();

}  // namespace shunt
