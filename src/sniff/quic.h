// SPDX-License-Identifier: GPL-2.0-only
// The client hello of a QUIC connection, versions 1 (RFC 9000, RFC 9001) and 2 (RFC 9369), from the
// first datagrams of the client. It stands in Initial packets, which anybody on the path can open.
// With post-quantum keys it is larger than a datagram; its pieces may come in any order.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sniff/quic_crypto.h"
#include "sniff/quic_frames.h"

namespace shunt {

/// A client's first QUIC packet: long header, a version, and the size that a datagram
/// with an Initial must have (RFC 9000 sections 14.1 and 17.2). Of any version.
[[nodiscard]] bool is_quic_initial(std::string_view payload);

inline constexpr std::size_t kQuicMostIdBytes = 20;  // RFC 9000 section 17.2

enum class QuicPacketKind : std::uint8_t { initial, zero_rtt, handshake, retry };

/// Each connection ID was chosen by the end that it leads to; either may be "".
struct QuicLongHeader {
  QuicPacketKind kind = QuicPacketKind::initial;
  QuicVersion version = QuicVersion::v1;
  std::string_view destination_id;
  std::string_view source_id;
};
/// Of the first packet of a datagram. Empty where that has none, or is of an unknown version.
[[nodiscard]] std::optional<QuicLongHeader> quic_long_header(std::string_view datagram);

/// The destination's connection ID of the first packet, of any version. "" where there is none.
[[nodiscard]] std::string_view quic_connection_id(std::string_view datagram);

/// The same of a packet with a short header, whose ID has `id_bytes`: only the ends know how many
/// that are. "" where there is none. The fixed bit may be anything (RFC 9287).
[[nodiscard]] std::string_view quic_short_id(std::string_view datagram, std::size_t id_bytes);

class QuicHelloReader {
 public:
  enum class State : std::uint8_t {
    need_more,
    complete,
    stopped,  ///< no hello comes: a limit is hit, or this is nothing that a server would accept
  };

  /// One datagram of the client's, in the order of arrival. What no key opens is passed over, as a
  /// server would. The state never changes again once it is not need_more.
  State feed(std::string_view datagram);
  [[nodiscard]] State state() const { return state_; }
  /// Some packet was made with the keys of its own connection ID.
  [[nodiscard]] bool opened() const { return keys_.has_value(); }
  /// The body of the client hello, when complete, for parse_client_hello(); valid while this lives.
  [[nodiscard]] std::string_view body() const;

 private:
  struct Packet;
  static std::optional<Packet> next_packet(std::string_view& datagram);
  bool take_initial(const Packet& packet);
  [[nodiscard]] State state_of_stream() const;

  std::optional<QuicInitialKeys> keys_;  // once a packet was opened
  QuicCryptoStream stream_;
  std::uint8_t datagrams_ = 0;
  State state_ = State::need_more;
};

}  // namespace shunt
