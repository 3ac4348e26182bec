// SPDX-License-Identifier: GPL-2.0-only
// SOCKS5 (RFC 1928) and its user name and password (RFC 1929), as a client speaks them. Bytes only:
// no I/O, no allocation from a length field, no message longer than kLongestMessage.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "flow/decoded.h"
#include "net/endpoint.h"

namespace shunt::socks5 {

inline constexpr std::size_t kLongestDomain = 255;
inline constexpr std::size_t kLongestCredential = 255;
inline constexpr std::size_t kLongestMessage = 4 + 1 + kLongestDomain + 2;  ///< a server's

enum class Method : std::uint8_t { none = 0x00, password = 0x02, no_acceptable = 0xff };
enum class Command : std::uint8_t { connect = 0x01, udp_associate = 0x03 };

enum class ReplyCode : std::uint8_t {
  succeeded = 0x00,
  general_failure = 0x01,
  not_allowed = 0x02,
  network_unreachable = 0x03,
  host_unreachable = 0x04,
  connection_refused = 0x05,
  ttl_expired = 0x06,
  command_not_supported = 0x07,
  address_type_not_supported = 0x08,
};

/// Where a request asks to go: to a domain, or when that is "" to the endpoint's address.
struct Target {
  std::string_view domain;  ///< at most kLongestDomain
  Endpoint endpoint;
};

struct Reply {
  ReplyCode code = ReplyCode::succeeded;  ///< any byte, not only the named ones
  std::optional<Endpoint> bound;          ///< empty where the server named a domain, or failed
};

struct UdpPacket {
  std::uint8_t fragment = 0;
  std::optional<Endpoint> endpoint;  ///< empty for a domain
  std::string_view payload;
};

std::string greeting(bool offer_none, bool offer_password);
/// Each at most kLongestCredential; longer ones are cut.
std::string password_request(std::string_view user, std::string_view password);
std::string request(Command command, const Target& target);
std::string udp_header(const Endpoint& destination);
/// To a name of 1 to kLongestDomain bytes.
std::string udp_header(std::string_view domain, std::uint16_t port);

Decoded<Method> decode_method(std::string_view bytes);
/// The status: 0 is success.
Decoded<std::uint8_t> decode_password_reply(std::string_view bytes);
/// A failure is complete with its code: servers are known to leave the rest out.
Decoded<Reply> decode_reply(std::string_view bytes);
std::optional<UdpPacket> decode_udp(std::string_view datagram);

}  // namespace shunt::socks5
