// SPDX-License-Identifier: GPL-2.0-only
// The head of an IPv4 or IPv6 packet that carries TCP, as a queue hands it over. Pure, and bounded
// by the bytes given.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "net/endpoint.h"

namespace shunt {

struct TcpHead {
  Endpoint source;
  Endpoint destination;
  std::uint32_t sequence = 0;
  bool syn = false;  ///< SYN without ACK, RST or FIN: a new connection
  bool operator==(const TcpHead&) const = default;
};

/// Extension headers of IPv6 are walked through. Nothing where the bytes end before TCP's flags, or
/// hold a later fragment or another protocol.
[[nodiscard]] std::optional<TcpHead> tcp_head(std::string_view bytes);

}  // namespace shunt
