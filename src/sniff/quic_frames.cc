// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/quic_frames.h"

#include <algorithm>

#include "base/counters.h"
#include "base/limits.h"

namespace shunt {
namespace {

enum FrameType : std::uint8_t { kPadding = 0, kPing = 1, kAck = 2, kAckWithEcn = 3, kCrypto = 6 };

/// Each range takes bytes, so a count that lies ends the loop.
void skip_ack(ByteReader& frames, bool with_ecn) {
  quic_number(frames);  // the largest acknowledged
  quic_number(frames);  // delay
  std::uint64_t ranges = quic_number(frames);
  quic_number(frames);  // the first of them
  for (; ranges > 0 && frames.ok(); --ranges) {
    quic_number(frames);  // gap
    quic_number(frames);  // length
  }
  for (int counts = with_ecn ? 3 : 0; counts > 0; --counts) quic_number(frames);
}

bool read_crypto(ByteReader& frames, QuicCryptoStream& stream) {
  const std::uint64_t offset = quic_number(frames);
  const std::string_view bytes = frames.take(quic_number(frames));
  return frames.ok() && stream.add(offset, bytes);
}

}  // namespace

std::uint64_t quic_number(ByteReader& reader) {
  const std::uint32_t first = reader.number(1);
  std::uint64_t value = first & 0x3f;
  for (const char byte : reader.take((std::size_t{1} << (first >> 6)) - 1)) {
    value = value << 8 | static_cast<unsigned char>(byte);
  }
  return value;
}

bool QuicCryptoStream::add(std::uint64_t offset, std::string_view bytes) {
  if (offset > limits::kTlsHelloBytes || bytes.size() > limits::kTlsHelloBytes - offset) {
    count(Counter::tls_hellos_too_long);
    return false;
  }
  if (bytes.empty()) return true;
  Piece fresh{.offset = offset, .bytes = std::string(bytes)};
  const auto first = std::ranges::find_if(
      pieces_, [&fresh](const Piece& piece) { return piece.end() >= fresh.offset; });
  auto last = first;
  for (; last != pieces_.end() && last->offset <= offset + bytes.size(); ++last) {
    if (!agree(fresh, *last)) return false;
    join(fresh, *last);
  }
  pieces_.insert(pieces_.erase(first, last), std::move(fresh));
  if (pieces_.size() <= limits::kQuicCryptoPieces) return true;
  count(Counter::quic_hellos_given_up);
  return false;
}

std::string_view QuicCryptoStream::beginning() const {
  const bool begun = !pieces_.empty() && pieces_.front().offset == 0;
  return begun ? std::string_view(pieces_.front().bytes) : std::string_view();
}

/// They overlap, or touch each other.
bool QuicCryptoStream::agree(const Piece& a, const Piece& b) {
  const std::size_t start = std::max(a.offset, b.offset);
  const std::size_t size = std::min(a.end(), b.end()) - start;
  return std::string_view(a.bytes).substr(start - a.offset, size) ==
         std::string_view(b.bytes).substr(start - b.offset, size);
}

void QuicCryptoStream::join(Piece& into, const Piece& other) {
  if (other.end() > into.end()) into.bytes.append(other.bytes, into.end() - other.offset);
  if (other.offset < into.offset) {
    into.bytes.insert(0, other.bytes, 0, into.offset - other.offset);
    into.offset = other.offset;
  }
}

bool read_initial_frames(std::string_view payload, QuicCryptoStream& stream) {
  ByteReader frames(payload);
  while (frames.more()) {
    switch (const std::uint32_t type = frames.number(1); type) {
      case kPadding:
      case kPing: break;
      case kAck:
      case kAckWithEcn: skip_ack(frames, type == kAckWithEcn); break;
      case kCrypto:
        if (!read_crypto(frames, stream)) return false;
        break;
      default: return false;
    }
  }
  return frames.ok();
}

}  // namespace shunt
