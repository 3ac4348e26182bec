// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shunt {

/// What the first bytes of a flow speak.
enum class AppProtocol : std::uint8_t { http, tls, quic, dns, ssh, other };

/// As rules and logs call them, in the order of AppProtocol.
inline constexpr std::array<std::string_view, 6> kAppProtocolNames = {"http", "tls", "quic",
                                                                      "dns",  "ssh", "other"};

[[nodiscard]] constexpr std::string_view app_protocol_name(AppProtocol app) {
  return kAppProtocolNames[static_cast<std::size_t>(app)];
}

}  // namespace shunt
