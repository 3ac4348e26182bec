// SPDX-License-Identifier: GPL-2.0-only
// The PROXY protocol (HAProxy, doc/proxy-protocol.txt), versions 1 and 2, as a sender and as a
// receiver speak it: who the client was, said before the first byte of a connection or datagram.
// Bytes only, no I/O, nothing allocated from a length field.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "flow/decoded.h"
#include "flow/flow.h"
#include "net/endpoint.h"

namespace shunt::proxy_protocol {

inline constexpr std::size_t kLongestV1 = 107;  ///< section 2.1, with its line end
inline constexpr std::size_t kLongestHeader = limits::kProxyHeaderBytes;
inline constexpr std::size_t kLongestUniqueId = 128;  ///< section 2.2.5
inline constexpr std::size_t kLongestText = 255;      ///< of an authority or ALPN that is sent

enum class Version : std::uint8_t { v1 = 1, v2 = 2 };

/// The views point into the bytes that were decoded, or live as long as the encoder's call.
struct Header {
  Version version = Version::v2;
  /// Version 2's LOCAL, version 1's UNKNOWN, or a family that has no endpoints: the connection
  /// counts as its sender's own, and what follows but `version` says nothing.
  bool local = false;
  Protocol protocol = Protocol::tcp;
  Endpoint source;
  Endpoint destination;
  std::string_view authority{};  ///< PP2_TYPE_AUTHORITY: the name that the client asked for
  std::string_view alpn{};       ///< PP2_TYPE_ALPN: one protocol name
  std::string_view unique_id{};  ///< PP2_TYPE_UNIQUE_ID
  bool has_checksum = false;     ///< PP2_TYPE_CRC32C, which was right
};

/// TCP only. Endpoints of two families are both written as IPv6 (::ffff:a.b.c.d).
std::string encode_v1(const Header& header);
/// With a CRC32C. Texts that are too long are left out: they are extras, and half of one is none.
std::string encode_v2(const Header& header);

/// Either version. Malformed as soon as it can be told, so that a peer that speaks something else
/// is not waited for. TLVs of unknown types are passed over, as section 2.2 wants it.
Decoded<Header> decode(std::string_view bytes);

}  // namespace shunt::proxy_protocol
