// SPDX-License-Identifier: GPL-2.0-only
// What a client's Initial packets hold: frames (RFC 9000 sections 12.4 and 19), of which CRYPTO
// frames are pieces of the TLS handshake. Clients send these out of order, cut small, and more than
// once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sniff/byte_reader.h"

namespace shunt {

/// A variable-length integer (RFC 9000 section 16).
std::uint64_t quic_number(ByteReader& reader);

/// Puts the pieces of a handshake together. Keeps no more than has arrived, at most
/// limits::kTlsHelloBytes in limits::kQuicCryptoPieces.
class QuicCryptoStream {
 public:
  /// False, for good: a limit is hit, or a piece contradicts one that was there.
  bool add(std::uint64_t offset, std::string_view bytes);
  /// All there is from the very beginning to the first gap; valid until the next add().
  [[nodiscard]] std::string_view beginning() const;

 private:
  struct Piece {
    std::size_t offset;
    std::string bytes;
    [[nodiscard]] std::size_t end() const { return offset + bytes.size(); }
  };
  static bool agree(const Piece& a, const Piece& b);
  static void join(Piece& into, const Piece& other);

  std::vector<Piece> pieces_;  // in order; there is a gap between any two
};

/// The frames of one Initial packet. False: one that does not belong into it, is malformed, or that
/// the stream did not take.
bool read_initial_frames(std::string_view payload, QuicCryptoStream& stream);

}  // namespace shunt
