// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/quic.h"

#include "base/counters.h"
#include "base/limits.h"
#include "sniff/byte_reader.h"

namespace shunt {
namespace {

constexpr std::size_t kInitialDatagramBytes = 1200;
constexpr std::size_t kHelloHeaderBytes = 4;  // type, length (3)
constexpr char kClientHello = 1;
constexpr auto kVersionNegotiation = static_cast<QuicVersion>(0);
constexpr std::uint8_t kLongHeaderBit = 0x80;
constexpr std::uint8_t kFixedBit = 0x40;

/// Version 2 gave the types other numbers (RFC 9369 section 3.2).
QuicPacketKind kind_of(QuicVersion version, std::uint32_t first_byte) {
  const std::uint32_t type = first_byte >> 4 & 3;
  return static_cast<QuicPacketKind>(version == QuicVersion::v1 ? type : (type + 3) & 3);
}

bool is_known(QuicVersion version) {
  return version == QuicVersion::v1 || version == QuicVersion::v2;
}

/// Of known versions the fixed bit may be clear: clients do that to servers that they know
/// (RFC 9287 section 3). Without both, much that is no QUIC would look like it.
bool has_long_header(std::uint32_t first_byte, QuicVersion version) {
  return (first_byte & kLongHeaderBit) != 0 && ((first_byte & kFixedBit) != 0 || is_known(version));
}

/// Then the server is asked for the versions that it has, and no hello comes before its answer.
bool has_unknown_version(std::string_view datagram) {
  ByteReader reader(datagram);
  const std::uint32_t first = reader.number(1);
  const auto version = static_cast<QuicVersion>(reader.number(4));
  return reader.ok() && has_long_header(first, version) && !is_known(version);
}

std::optional<QuicLongHeader> read_long_header(ByteReader& reader) {
  QuicLongHeader header;
  const std::uint32_t first = reader.number(1);
  header.version = static_cast<QuicVersion>(reader.number(4));
  if (!has_long_header(first, header.version) || !is_known(header.version)) return std::nullopt;
  header.kind = kind_of(header.version, first);
  header.destination_id = reader.vector(1);
  header.source_id = reader.vector(1);
  const bool short_enough = header.destination_id.size() <= kQuicMostIdBytes &&
                            header.source_id.size() <= kQuicMostIdBytes;
  return reader.ok() && short_enough ? std::optional(header) : std::nullopt;
}

}  // namespace

std::optional<QuicLongHeader> quic_long_header(std::string_view datagram) {
  ByteReader reader(datagram);
  return read_long_header(reader);
}

std::string_view quic_short_id(std::string_view datagram, std::size_t id_bytes) {
  if (datagram.size() <= id_bytes) return {};
  const bool long_header = (static_cast<unsigned char>(datagram[0]) & kLongHeaderBit) != 0;
  return long_header ? std::string_view() : datagram.substr(1, id_bytes);
}

bool is_quic_initial(std::string_view payload) {
  if (payload.size() < kInitialDatagramBytes) return false;
  ByteReader reader(payload);
  const std::uint32_t first = reader.number(1);
  const auto version = static_cast<QuicVersion>(reader.number(4));
  return has_long_header(first, version) && version != kVersionNegotiation;
}

std::string_view quic_connection_id(std::string_view datagram) {
  ByteReader reader(datagram);
  reader.take(5);  // first byte, version
  return reader.vector(1);
}

struct QuicHelloReader::Packet {
  QuicLongHeader header;
  std::string_view bytes;     // all of it
  std::size_t number_at = 0;  // where its packet number begins
};

/// Takes a packet off the front of what is left of a datagram (RFC 9000 section 12.2). Empty: what
/// is left is of another version, has a short header, or no end that could be told.
auto QuicHelloReader::next_packet(std::string_view& datagram) -> std::optional<Packet> {
  ByteReader reader(datagram);
  const auto header = read_long_header(reader);
  if (!header || header->kind == QuicPacketKind::retry) return std::nullopt;
  Packet packet{.header = *header, .bytes = {}};
  if (header->kind == QuicPacketKind::initial) reader.take(quic_number(reader));  // token
  const std::uint64_t length = quic_number(reader);
  packet.number_at = datagram.size() - reader.left();
  reader.take(length);
  if (!reader.ok()) return std::nullopt;
  packet.bytes = datagram.substr(0, packet.number_at + length);
  datagram.remove_prefix(packet.bytes.size());
  return packet;
}

auto QuicHelloReader::feed(std::string_view datagram) -> State {
  if (state_ != State::need_more) return state_;
  if (++datagrams_ == 1 && has_unknown_version(datagram)) return state_ = State::stopped;
  while (!datagram.empty()) {
    const auto packet = next_packet(datagram);
    if (!packet) break;
    if (packet->header.kind != QuicPacketKind::initial) continue;
    if (!take_initial(*packet)) return state_ = State::stopped;
  }
  state_ = state_of_stream();
  if (state_ == State::need_more && datagrams_ >= limits::kQuicHelloDatagrams) {
    count(Counter::quic_hellos_given_up);
    state_ = State::stopped;
  }
  return state_;
}

std::string_view QuicHelloReader::body() const {
  const std::string_view message = stream_.beginning();
  return message.substr(kHelloHeaderBytes, ByteReader(message.substr(1)).number(3));
}

/// The keys are those of the first packet that they open, whatever ID the later ones have: once the
/// server has answered, the client addresses them to the server's. False: it is no client's.
bool QuicHelloReader::take_initial(const Packet& packet) {
  const QuicInitialKeys keys =
      keys_ ? *keys_ : client_initial_keys(packet.header.version, packet.header.destination_id);
  const auto payload = open_initial(keys, packet.bytes, packet.number_at);
  if (!payload) return true;
  keys_ = keys;
  return read_initial_frames(*payload, stream_);
}

auto QuicHelloReader::state_of_stream() const -> State {
  const std::string_view message = stream_.beginning();
  if (!message.empty() && message.front() != kClientHello) return State::stopped;
  if (message.size() < kHelloHeaderBytes) return State::need_more;
  const std::size_t size = kHelloHeaderBytes + ByteReader(message.substr(1)).number(3);
  if (size > limits::kTlsHelloBytes) {
    count(Counter::tls_hellos_too_long);
    return State::stopped;
  }
  return message.size() >= size ? State::complete : State::need_more;
}

}  // namespace shunt
