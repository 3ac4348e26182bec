// SPDX-License-Identifier: GPL-2.0-only
#include "egress/wire/socks5.h"

#include <cstring>
#include <utility>

namespace shunt::socks5 {
namespace {

constexpr char kVersion = 0x05;
constexpr char kPasswordVersion = 0x01;
constexpr char kReserved = 0x00;

enum AddressType : std::uint8_t { kIpv4 = 0x01, kDomain = 0x03, kIpv6 = 0x04 };

void append_target(std::string& out, const Target& target) {
  if (!target.domain.empty()) {
    const auto domain = target.domain.substr(0, kLongestDomain);
    out += static_cast<char>(kDomain);
    out += static_cast<char>(domain.size());
    out += domain;
  } else {
    out += static_cast<char>(target.endpoint.address.is_v4() ? kIpv4 : kIpv6);
    out += target.endpoint.address.bytes();
  }
  out += static_cast<char>(target.endpoint.port >> 8);
  out += static_cast<char>(target.endpoint.port & 0xff);
}

std::uint8_t byte_at(std::string_view bytes, std::size_t index) {
  return static_cast<std::uint8_t>(bytes[index]);
}

template <class T>
Decoded<T> malformed() {
  return {.status = Decoded<T>::Status::malformed, .value = {}, .size = 0};
}

template <class T>
Decoded<T> complete(T value, std::size_t size) {
  return {.status = Decoded<T>::Status::complete, .value = std::move(value), .size = size};
}

// `bytes` are 4 or 16 of an address and 2 of a port.
Endpoint endpoint_from(std::string_view bytes) {
  Endpoint endpoint;
  if (bytes.size() == sizeof(in_addr) + 2) {
    in_addr v4{};
    std::memcpy(&v4, bytes.data(), sizeof v4);
    endpoint.address = Address(v4);
  } else {
    in6_addr v6{};
    std::memcpy(&v6, bytes.data(), sizeof v6);
    endpoint.address = Address(v6);
  }
  endpoint.port = static_cast<std::uint16_t>(byte_at(bytes, bytes.size() - 2) << 8 |
                                             byte_at(bytes, bytes.size() - 1));
  return endpoint;
}

// ATYP, address, port. Empty endpoint: a domain.
Decoded<std::optional<Endpoint>> decode_address(std::string_view bytes) {
  using Result = std::optional<Endpoint>;
  if (bytes.empty()) return {};
  std::size_t start = 1;
  std::size_t size = 0;
  switch (byte_at(bytes, 0)) {
    case kIpv4: size = sizeof(in_addr) + 2; break;
    case kIpv6: size = sizeof(in6_addr) + 2; break;
    case kDomain:
      if (bytes.size() < 2) return {};
      start = 2;
      size = byte_at(bytes, 1) + std::size_t{2};
      if (bytes.size() < start + size) return {};
      return complete<Result>(std::nullopt, start + size);
    default: return malformed<Result>();
  }
  if (bytes.size() < start + size) return {};
  return complete<Result>(endpoint_from(bytes.substr(start, size)), start + size);
}

}  // namespace

std::string greeting(bool offer_none, bool offer_password) {
  std::string out{kVersion, static_cast<char>((offer_none ? 1 : 0) + (offer_password ? 1 : 0))};
  if (offer_none) out += static_cast<char>(Method::none);
  if (offer_password) out += static_cast<char>(Method::password);
  return out;
}

std::string password_request(std::string_view user, std::string_view password) {
  std::string out{kPasswordVersion};
  for (auto text : {user, password}) {
    text = text.substr(0, kLongestCredential);
    out += static_cast<char>(text.size());
    out += text;
  }
  return out;
}

std::string request(Command command, const Target& target) {
  std::string out{kVersion, static_cast<char>(command), kReserved};
  append_target(out, target);
  return out;
}

std::string udp_header(const Endpoint& destination) {
  constexpr char kNotFragmented = 0;
  std::string out{kReserved, kReserved, kNotFragmented};
  append_target(out, {.domain = {}, .endpoint = destination});
  return out;
}

std::string udp_header(std::string_view domain, std::uint16_t port) {
  constexpr char kNotFragmented = 0;
  std::string out{kReserved, kReserved, kNotFragmented};
  append_target(out, {.domain = domain, .endpoint = {.address = {}, .port = port}});
  return out;
}

Decoded<Method> decode_method(std::string_view bytes) {
  if (!bytes.empty() && bytes[0] != kVersion) return malformed<Method>();
  if (bytes.size() < 2) return {};
  return complete(static_cast<Method>(byte_at(bytes, 1)), 2);
}

// The version is not looked at: RFC 1929 makes it 1, and servers that answer 5 exist.
Decoded<std::uint8_t> decode_password_reply(std::string_view bytes) {
  if (bytes.size() < 2) return {};
  return complete(byte_at(bytes, 1), 2);
}

Decoded<Reply> decode_reply(std::string_view bytes) {
  if (!bytes.empty() && bytes[0] != kVersion) return malformed<Reply>();
  if (bytes.size() < 2) return {};
  Reply reply{.code = static_cast<ReplyCode>(byte_at(bytes, 1)), .bound = {}};
  if (reply.code != ReplyCode::succeeded) return complete(reply, bytes.size());
  if (bytes.size() < 4) return {};
  const auto address = decode_address(bytes.substr(3));
  if (address.malformed()) return malformed<Reply>();
  if (!address.complete()) return {};
  reply.bound = address.value;
  return complete(reply, 3 + address.size);
}

std::optional<UdpPacket> decode_udp(std::string_view datagram) {
  if (datagram.size() < 4) return std::nullopt;
  const auto address = decode_address(datagram.substr(3));
  if (!address.complete()) return std::nullopt;
  return UdpPacket{.fragment = byte_at(datagram, 2),
                   .endpoint = address.value,
                   .payload = datagram.substr(3 + address.size)};
}

}  // namespace shunt::socks5
