// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/quic_crypto.h"

#include <nettle/aes.h>
#include <nettle/gcm.h>
#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/nettle-meta.h>

#include <span>

namespace shunt {
namespace {

constexpr std::size_t kSampleBytes = 16;
constexpr std::size_t kSampleBehindNumber = 4;  // the number is taken to be this long
constexpr std::size_t kTagBytes = GCM_DIGEST_SIZE;
constexpr std::uint8_t kProtectedBits = 0x0f;  // of a long header's first byte

using Salt = std::array<std::uint8_t, 20>;
using Secret = std::array<std::uint8_t, SHA256_DIGEST_SIZE>;

constexpr Salt kSaltV1 = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                          0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};
constexpr Salt kSaltV2 = {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
                          0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9};

const std::uint8_t* unsigned_bytes(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

auto* hmac_update() { return reinterpret_cast<nettle_hash_update_func*>(hmac_sha256_update); }
auto* hmac_digest() { return reinterpret_cast<nettle_hash_digest_func*>(hmac_sha256_digest); }

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
void expand(const Secret& secret, std::string_view label, std::span<std::uint8_t> out) {
  constexpr std::string_view kPrefix = "tls13 ";
  std::string info = {'\0', static_cast<char>(out.size()),
                      static_cast<char>(kPrefix.size() + label.size())};
  info.append(kPrefix).append(label).push_back('\0');
  hmac_sha256_ctx context{};
  hmac_sha256_set_key(&context, secret.size(), secret.data());
  hkdf_expand(&context, hmac_update(), hmac_digest(), SHA256_DIGEST_SIZE, info.size(),
              unsigned_bytes(info), out.size(), out.data());
}

Secret client_secret(QuicVersion version, std::string_view connection_id) {
  const Salt& salt = version == QuicVersion::v1 ? kSaltV1 : kSaltV2;
  Secret initial{};
  hmac_sha256_ctx context{};
  hmac_sha256_set_key(&context, salt.size(), salt.data());
  hkdf_extract(&context, hmac_update(), hmac_digest(), SHA256_DIGEST_SIZE, connection_id.size(),
               unsigned_bytes(connection_id), initial.data());
  Secret client{};
  expand(initial, "client in", client);
  return client;
}

/// The header without its protection (RFC 9001 section 5.4), up to and with the packet number.
std::string plain_header(const QuicInitialKeys& keys, std::string_view packet,
                         std::size_t number_at) {
  aes128_ctx cipher{};
  aes128_set_encrypt_key(&cipher, keys.header.data());
  std::array<std::uint8_t, kSampleBytes> mask{};
  aes128_encrypt(&cipher, mask.size(), mask.data(),
                 unsigned_bytes(packet.substr(number_at + kSampleBehindNumber)));
  const auto first =
      static_cast<std::uint8_t>(static_cast<std::uint8_t>(packet[0]) ^ (mask[0] & kProtectedBits));
  const std::size_t number_bytes = (first & 3U) + 1;
  std::string header(packet.substr(0, number_at + number_bytes));
  header[0] = static_cast<char>(first);
  for (std::size_t i = 0; i < number_bytes; ++i) {
    header[number_at + i] = static_cast<char>(header[number_at + i] ^ mask[1 + i]);
  }
  return header;
}

/// Nothing is acknowledged before the handshake has begun, so each number is sent in full (RFC 9000
/// section 17.1).
auto nonce_of(const QuicInitialKeys& keys, std::string_view number) {
  auto nonce = keys.iv;
  for (std::size_t i = 0; i < number.size(); ++i) {
    nonce[nonce.size() - number.size() + i] ^= static_cast<std::uint8_t>(number[i]);
  }
  return nonce;
}

}  // namespace

QuicInitialKeys client_initial_keys(QuicVersion version, std::string_view connection_id) {
  const Secret secret = client_secret(version, connection_id);
  const bool first = version == QuicVersion::v1;
  QuicInitialKeys keys{};
  expand(secret, first ? "quic key" : "quicv2 key", keys.key);
  expand(secret, first ? "quic iv" : "quicv2 iv", keys.iv);
  expand(secret, first ? "quic hp" : "quicv2 hp", keys.header);
  return keys;
}

std::optional<std::string> open_initial(const QuicInitialKeys& keys, std::string_view packet,
                                        std::size_t number_at) {
  if (packet.size() < number_at + kSampleBehindNumber + kSampleBytes) return std::nullopt;
  const std::string header = plain_header(keys, packet, number_at);
  const std::string_view sealed = packet.substr(header.size());
  if (sealed.size() < kTagBytes) return std::nullopt;
  const auto nonce = nonce_of(keys, std::string_view(header).substr(number_at));

  gcm_aes128_ctx cipher{};
  gcm_aes128_set_key(&cipher, keys.key.data());
  gcm_aes128_set_iv(&cipher, nonce.size(), nonce.data());
  gcm_aes128_update(&cipher, header.size(), unsigned_bytes(header));
  std::string payload(sealed.size() - kTagBytes, '\0');
  gcm_aes128_decrypt(&cipher, payload.size(), reinterpret_cast<std::uint8_t*>(payload.data()),
                     unsigned_bytes(sealed));
  std::array<std::uint8_t, kTagBytes> tag{};
  gcm_aes128_digest(&cipher, tag.size(), tag.data());
  if (memeql_sec(tag.data(), sealed.data() + payload.size(), tag.size()) == 0) return std::nullopt;
  return payload;
}

}  // namespace shunt
