// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/tls.h"

#include <algorithm>

#include "base/counters.h"
#include "base/limits.h"
#include "sniff/byte_reader.h"

namespace shunt {
namespace {

constexpr std::uint8_t kRecordHeaderBytes = 5;  // type, version (2), length (2)
constexpr std::uint8_t kHandshakeRecord = 22;
constexpr std::uint32_t kRecordBytes = 1U << 14;  // RFC 8446 section 5.1
constexpr std::size_t kMessageHeaderBytes = 4;    // type, length (3)
constexpr std::size_t kRandomBytes = 32;

enum Extension : std::uint16_t {
  kServerName = 0,
  kAlpn = 16,
  kSupportedVersions = 43,
  kEncryptedClientHello = 0xfe0d,
};

/// The first host_name of a ServerNameList.
std::string server_name_of(std::string_view data) {
  ByteReader list(ByteReader(data).vector(2));
  while (list.more()) {
    const std::uint32_t type = list.number(1);
    const std::string_view name = list.vector(2);
    if (list.ok() && type == 0) return std::string(name);
  }
  return {};
}

std::vector<std::string> alpn_of(std::string_view data) {
  std::vector<std::string> names;
  ByteReader list(ByteReader(data).vector(2));
  while (list.more() && names.size() < limits::kTlsAlpnNames) {
    const std::string_view name = list.vector(1);
    if (list.ok() && !name.empty()) names.emplace_back(name);
  }
  return names;
}

/// Calls take(type, data) for each extension; false when they do not fill `block` exactly.
template <class Take>
bool each_extension(std::string_view block, Take take) {
  ByteReader extensions(block);
  while (extensions.more()) {
    const std::uint32_t type = extensions.number(2);
    const std::string_view data = extensions.vector(2);
    if (extensions.ok()) take(type, data);
  }
  return extensions.ok();
}

}  // namespace

TlsHelloReader::State TlsHelloReader::feed(std::string_view bytes) {
  while (!bytes.empty() && state_ == State::need_more) {
    if (record_left_ == 0) {
      take_header_byte(bytes.front());
      bytes.remove_prefix(1);
      continue;
    }
    const std::string_view part = bytes.substr(0, record_left_);
    bytes.remove_prefix(part.size());
    feed_record(part);
  }
  return state_;
}

std::string_view TlsHelloReader::body() const {
  return std::string_view(message_).substr(kMessageHeaderBytes, message_bytes());
}

void TlsHelloReader::take_header_byte(char byte) {
  const auto value = static_cast<std::uint8_t>(byte);
  bool fits = true;
  switch (header_at_++) {
    // The minor version may be anything (RFC 8446 section 5.1).
    case 0: fits = value == kHandshakeRecord; break;
    case 1: fits = value == 3; break;
    case 3: fits = value <= kRecordBytes >> 8; break;
    default: break;
  }
  // The length gathers here; a record without payload is forbidden (RFC 8446 section 5.1).
  static_assert(kRecordHeaderBytes == 5);
  if (header_at_ == 4) record_high_ = value;
  if (header_at_ == kRecordHeaderBytes) {
    header_at_ = 0;
    record_left_ = static_cast<std::uint32_t>(record_high_) << 8 | value;
    fits = record_left_ != 0 && record_left_ <= kRecordBytes;
  }
  if (!fits) state_ = State::stopped;
}

void TlsHelloReader::feed_record(std::string_view part) {
  record_left_ -= static_cast<std::uint32_t>(part.size());
  const std::size_t room =
      limits::kTlsHelloBytes - std::min(limits::kTlsHelloBytes, message_.size());
  message_.append(part.substr(0, room));
  check_message();
}

void TlsHelloReader::check_message() {
  if (message_.front() != static_cast<char>(expected_)) {
    state_ = State::stopped;
  } else if (message_.size() < kMessageHeaderBytes) {
    return;
  } else if (message_bytes() + kMessageHeaderBytes > limits::kTlsHelloBytes) {
    count(Counter::tls_hellos_too_long);
    state_ = State::stopped;
  } else if (message_.size() >= message_bytes() + kMessageHeaderBytes) {
    state_ = State::complete;
  }
}

std::size_t TlsHelloReader::message_bytes() const {
  return ByteReader(std::string_view(message_).substr(1)).number(3);
}

std::optional<ClientHello> parse_client_hello(std::string_view body) {
  ByteReader reader(body);
  reader.take(2);  // legacy version
  reader.take(kRandomBytes);
  reader.vector(1);  // session id
  reader.vector(2);  // cipher suites
  reader.vector(1);  // compression methods
  ClientHello hello;
  if (!reader.ok()) return {};
  if (!reader.more()) return hello;  // before TLS 1.2 extensions may be missing
  const std::string_view extensions = reader.vector(2);
  const bool whole = each_extension(extensions, [&](std::uint32_t type, std::string_view data) {
    if (type == kServerName) hello.server_name = server_name_of(data);
    if (type == kAlpn) hello.alpn = alpn_of(data);
    if (type == kEncryptedClientHello) hello.ech = true;
  });
  if (!reader.ok() || !whole) return {};
  return hello;
}

std::optional<ServerHello> parse_server_hello(std::string_view body) {
  ByteReader reader(body);
  ServerHello hello;
  hello.version = static_cast<std::uint16_t>(reader.number(2));
  reader.take(kRandomBytes);
  reader.vector(1);  // session id
  reader.take(3);    // cipher suite, compression method
  if (!reader.ok()) return {};
  if (!reader.more()) return hello;
  const std::string_view extensions = reader.vector(2);
  const bool whole = each_extension(extensions, [&](std::uint32_t type, std::string_view data) {
    if (type == kSupportedVersions) {
      hello.version = static_cast<std::uint16_t>(ByteReader(data).number(2));
    }
    if (type == kAlpn) {
      auto names = alpn_of(data);
      if (!names.empty()) hello.alpn = std::move(names.front());
    }
  });
  if (!reader.ok() || !whole) return {};
  return hello;
}

}  // namespace shunt
