// SPDX-License-Identifier: GPL-2.0-only
// Bytes as datagrams of a QUIC client, each behind a length of two bytes; as the payload of one
// Initial packet, plain and protected; and as one datagram of either end, by its connection IDs.
// Sent twice it must say the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "sniff/byte_reader.h"
#include "sniff/quic.h"
#include "sniff/tls.h"
#include "unit/sniff/quic_samples.h"

namespace {

using namespace shunt;
using State = QuicHelloReader::State;

void check(bool holds) {
  if (!holds) std::abort();
}

std::string answer(const QuicHelloReader& reader) {
  if (reader.state() != State::complete) return std::to_string(static_cast<int>(reader.state()));
  check(reader.body().size() <= limits::kTlsHelloBytes);
  (void)parse_client_hello(reader.body());
  return std::string(reader.body());
}

std::string read_datagrams(std::string_view bytes) {
  QuicHelloReader reader;
  State before = State::need_more;
  for (ByteReader datagrams(bytes); datagrams.more();) {
    const State state = reader.feed(datagrams.vector(2));
    check(before == State::need_more || state == before);
    before = state;
  }
  return answer(reader);
}

void read_payload(std::string_view payload) {
  QuicCryptoStream stream;
  if (!read_initial_frames(payload, stream)) return;
  const std::string once(stream.beginning());
  check(once.size() <= payload.size());
  check(read_initial_frames(payload, stream) && stream.beginning() == once);

  const std::string datagram =
      quic_samples::initial({.payload = std::string(payload), .packet_bytes = 64});
  QuicHelloReader one;
  QuicHelloReader two;
  one.feed(datagram);
  two.feed(datagram + datagram);
  check(answer(one) == answer(two));
  if (one.state() == State::complete) check(once.substr(4, one.body().size()) == one.body());
}

void read_ids(std::string_view bytes) {
  if (const auto header = quic_long_header(bytes)) {
    check(header->destination_id.size() <= kQuicMostIdBytes);
    check(header->source_id.size() <= kQuicMostIdBytes);
    check(header->destination_id == quic_connection_id(bytes));
    check(quic_short_id(bytes, 1).empty());
  }
  for (std::size_t length = 0; length <= kQuicMostIdBytes; ++length) {
    const std::string_view id = quic_short_id(bytes, length);
    check(id.empty() || id == bytes.substr(1, length));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check(read_datagrams(bytes) == read_datagrams(bytes));
  if (size < 8192) read_payload(bytes);
  read_ids(bytes);
  return 0;
}
