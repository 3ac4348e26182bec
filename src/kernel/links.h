// SPDX-License-Identifier: GPL-2.0-only
// Interfaces and their addresses, in the network namespace of the calling thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/endpoint.h"

namespace shunt {

struct Link {
  unsigned index = 0;
  std::string name{};
  std::string kind{};  ///< "bridge", "veth", "tun", … as `ip -d link` says; "" for plain hardware
  bool up = false;
  bool loopback = false;
};

struct InterfaceAddress {
  unsigned index = 0;       ///< of the interface
  std::string interface{};  ///< "" if the interface went away meanwhile
  Address address{};
  std::uint8_t prefix_length = 0;
};

Result<std::vector<Link>> list_links();
Result<std::vector<InterfaceAddress>> list_addresses();
/// Kind::configuration if there is no such interface.
Result<unsigned> link_index(std::string_view name);

/// Needs CAP_NET_ADMIN, as the rest does.
Result<void> set_link_up(std::string_view name, bool up = true);
/// IPv6 addresses are added without duplicate address detection: usable at once. One that is there
/// already is not an error.
Result<void> add_address(std::string_view interface, const Address& address,
                         std::uint8_t prefix_length);
/// No automatic link-local address, so no router solicitations (IFLA_INET6_ADDR_GEN_MODE none).
Result<void> disable_address_generation(std::string_view interface);

}  // namespace shunt
