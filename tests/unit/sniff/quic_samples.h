// SPDX-License-Identifier: GPL-2.0-only
// Builds QUIC packets as a client protects them, well formed and otherwise.
#pragma once

#include <nettle/aes.h>
#include <nettle/gcm.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "sniff/quic_crypto.h"

namespace shunt::quic_samples {

inline constexpr std::size_t kDatagramBytes = 1200;

/// A variable-length integer in as few bytes as it takes.
inline std::string number(std::uint64_t value) {
  int code = 0;
  while (code < 3 && value >> ((8 << code) - 2) != 0) ++code;
  std::string text;
  for (int at = (1 << code) - 1; at >= 0; --at) text += static_cast<char>(value >> (8 * at));
  text[0] = static_cast<char>(text[0] | code << 6);
  return text;
}

inline std::string crypto(std::size_t offset, std::string_view bytes) {
  return '\x06' + number(offset) + number(bytes.size()).append(bytes);
}

inline const std::uint8_t* raw(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

/// `header` ends in the packet number, whose length its first byte tells.
inline std::string seal(const QuicInitialKeys& keys, std::string header, std::string_view payload) {
  const std::size_t number_bytes = (static_cast<std::size_t>(header[0]) & 3) + 1;
  const std::size_t number_at = header.size() - number_bytes;
  auto nonce = keys.iv;
  for (std::size_t i = 0; i < number_bytes; ++i) {
    nonce[12 - number_bytes + i] ^= static_cast<std::uint8_t>(header[number_at + i]);
  }
  gcm_aes128_ctx cipher;
  gcm_aes128_set_key(&cipher, keys.key.data());
  gcm_aes128_set_iv(&cipher, nonce.size(), nonce.data());
  gcm_aes128_update(&cipher, header.size(), raw(header));
  std::string sealed(payload.size() + GCM_DIGEST_SIZE, '\0');
  auto* out = reinterpret_cast<std::uint8_t*>(sealed.data());
  gcm_aes128_encrypt(&cipher, payload.size(), out, raw(payload));
  gcm_aes128_digest(&cipher, GCM_DIGEST_SIZE, out + payload.size());

  aes128_ctx mask_cipher;
  aes128_set_encrypt_key(&mask_cipher, keys.header.data());
  std::array<std::uint8_t, 16> mask{};
  aes128_encrypt(&mask_cipher, mask.size(), mask.data(), out + 4 - number_bytes);
  header[0] = static_cast<char>(header[0] ^ (mask[0] & 0x0f));
  for (std::size_t i = 0; i < number_bytes; ++i) {
    header[number_at + i] = static_cast<char>(header[number_at + i] ^ mask[1 + i]);
  }
  return header + sealed;
}

struct Initial {
  std::string payload = {};
  QuicVersion version = QuicVersion::v1;
  std::string connection_id = "\x83\x94\xc8\xf0\x3e\x51\x57\x08";
  std::string keyed_by = {};  ///< "": by connection_id
  std::string source_id = "me";
  std::string token = {};
  std::size_t number = 0;
  std::size_t number_bytes = 1;
  std::size_t packet_bytes = kDatagramBytes;  ///< the payload is padded to that; 0: it is not
  bool fixed_bit = true;
};

inline std::string version_bytes(QuicVersion version) {
  std::string text;
  for (int at = 3; at >= 0; --at) {
    text += static_cast<char>(static_cast<std::uint32_t>(version) >> (8 * at));
  }
  return text;
}

inline std::string with_length(std::string_view bytes) {
  return static_cast<char>(bytes.size()) + std::string(bytes);
}

inline std::string initial(const Initial& packet) {
  const int type = packet.version == QuicVersion::v1 ? 0 : 1;
  std::string header(1, static_cast<char>(0x80 | type << 4 | (packet.number_bytes - 1)));
  if (packet.fixed_bit) header[0] = static_cast<char>(header[0] | 0x40);
  header += version_bytes(packet.version) + with_length(packet.connection_id) +
            with_length(packet.source_id) + number(packet.token.size()) + packet.token;
  std::string payload = packet.payload;
  constexpr std::size_t kLengthBytes = 2;
  const std::size_t around = header.size() + kLengthBytes + packet.number_bytes + GCM_DIGEST_SIZE;
  if (around + payload.size() < packet.packet_bytes) {
    payload.resize(packet.packet_bytes - around, '\0');
  }
  const std::size_t length = packet.number_bytes + payload.size() + GCM_DIGEST_SIZE;
  header += static_cast<char>(0x40 | length >> 8);
  header += static_cast<char>(length);
  for (std::size_t at = packet.number_bytes; at-- > 0;) {
    header += static_cast<char>(packet.number >> (8 * at));
  }
  const std::string& id = packet.keyed_by.empty() ? packet.connection_id : packet.keyed_by;
  return seal(client_initial_keys(packet.version, id), header, payload);
}

/// With a long header of version 1. Types: Initial (0), 0-RTT (1), Handshake (2), Retry (3).
inline std::string long_packet(int type, std::string_view destination_id,
                               std::string_view source_id, std::size_t bytes = 64) {
  return std::string(1, static_cast<char>(0xc0 | type << 4)) + version_bytes(QuicVersion::v1) +
         with_length(destination_id) + with_length(source_id) + number(bytes) +
         std::string(bytes, 'x');
}

inline std::string short_packet(std::string_view destination_id) {
  return '\x43' + std::string(destination_id) + std::string(40, 'x');
}

/// Of a type that has a length but whose keys nobody on the path has: 0-RTT (1), Handshake (2).
inline std::string other_packet(int type, std::size_t bytes) {
  return long_packet(type, "\x83\x94\xc8\xf0\x3e\x51\x57\x08", "me", bytes);
}

}  // namespace shunt::quic_samples
