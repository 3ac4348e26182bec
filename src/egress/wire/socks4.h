// SPDX-License-Identifier: GPL-2.0-only
// SOCKS4 and its extension 4A (Ying-Da Lee, "SOCKS: A protocol for TCP proxy across firewalls" and
// "SOCKS 4A: A Simple Extension to SOCKS 4 Protocol"), as a client speaks them. Bytes only, no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "flow/decoded.h"
#include "net/endpoint.h"

namespace shunt::socks4 {

inline constexpr std::size_t kLongestMessage = 8;  ///< a server's
inline constexpr std::size_t kLongestText = 255;   ///< of a user or a domain that is sent

enum class ReplyCode : std::uint8_t {
  granted = 90,
  rejected = 91,             ///< or failed: there is no other word for it
  identd_unreachable = 92,   ///< the server could not ask this machine's identd
  identd_says_another = 93,  ///< the user is not who identd says
};

/// CONNECT to a domain (4A), or when that is "" to an IPv4 endpoint. Empty where neither fits: an
/// IPv6 endpoint, or a text that holds a zero byte or is too long.
std::optional<std::string> request(std::string_view user, std::string_view domain,
                                   const Endpoint& destination);
/// Any code, not only the named ones. A reply's version is 0; servers that answer 4 exist.
Decoded<ReplyCode> decode_reply(std::string_view bytes);

}  // namespace shunt::socks4
