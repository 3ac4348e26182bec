// SPDX-License-Identifier: GPL-2.0-only
#include "net/endpoint.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace shunt {

Address::Address(in_addr v4) { std::memcpy(bytes_.data(), &v4, sizeof v4); }

Address::Address(const in6_addr& v6) {
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    std::memcpy(bytes_.data(), v6.s6_addr + 12, 4);
    return;
  }
  is_v4_ = false;
  std::memcpy(bytes_.data(), v6.s6_addr, 16);
}

std::optional<Address> Address::parse(std::string_view text) {
  const std::string copy(text);
  in_addr v4{};
  if (inet_pton(AF_INET, copy.c_str(), &v4) == 1) return Address(v4);
  in6_addr v6{};
  if (inet_pton(AF_INET6, copy.c_str(), &v6) == 1) return Address(v6);
  return std::nullopt;
}

Address Address::any(Family family) {
  return family == Family::ipv4 ? Address() : Address(in6addr_any);
}

Address Address::loopback(Family family) {
  return family == Family::ipv4 ? Address(in_addr{htonl(INADDR_LOOPBACK)})
                                : Address(in6addr_loopback);
}

bool Address::is_loopback() const {
  return is_v4_ ? bytes_[0] == 127 : *this == Address(in6addr_loopback);
}

bool Address::is_any() const {
  return std::ranges::all_of(bytes_, [](std::uint8_t byte) { return byte == 0; });
}

bool Address::is_link_local() const {
  return is_v4_ ? bytes_[0] == 169 && bytes_[1] == 254
                : bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool Address::is_multicast() const {
  return is_v4_ ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

bool Address::is_private() const {
  if (!is_v4_) return (bytes_[0] & 0xfe) == 0xfc;
  return bytes_[0] == 10 || (bytes_[0] == 172 && (bytes_[1] & 0xf0) == 16) ||
         (bytes_[0] == 192 && bytes_[1] == 168);
}

in_addr Address::v4() const {
  in_addr out{};
  std::memcpy(&out, bytes_.data(), sizeof out);
  return out;
}

in6_addr Address::v6() const {
  in6_addr out{};
  if (is_v4_) {
    out.s6_addr[10] = out.s6_addr[11] = 0xff;
    std::memcpy(out.s6_addr + 12, bytes_.data(), 4);
  } else {
    std::memcpy(out.s6_addr, bytes_.data(), 16);
  }
  return out;
}

std::string_view Address::bytes() const {
  return {reinterpret_cast<const char*>(bytes_.data()), is_v4_ ? 4U : 16U};
}

// The C library's inet_ntop() goes through sprintf() for IPv4, and each traffic line has two.
std::string Address::text() const {
  char buffer[INET6_ADDRSTRLEN];
  if (!is_v4_) return inet_ntop(AF_INET6, bytes_.data(), buffer, sizeof buffer);
  char* end = buffer;
  for (int i = 0; i < 4; ++i) {
    if (i != 0) *end++ = '.';
    end = std::to_chars(end, buffer + sizeof buffer, bytes_[i]).ptr;
  }
  return {buffer, end};
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = text.substr(0, colon);
  const auto port_text = text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = Address::parse(host);
  if (!address || bracketed == address->is_v4()) return std::nullopt;
  std::uint16_t port = 0;
  const char* const end = port_text.data() + port_text.size();
  const auto parsed = std::from_chars(port_text.data(), end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return Endpoint{*address, port};
}

std::optional<Endpoint> Endpoint::from(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(storage);
    return Endpoint{Address(in.sin_addr), ntohs(in.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(storage);
    const Address address(in.sin6_addr);
    return Endpoint{address, ntohs(in.sin6_port),
                    address.is_link_local() && !address.is_v4() ? in.sin6_scope_id : 0};
  }
  return std::nullopt;
}

std::string Endpoint::text() const {
  const std::string port_text = ":" + std::to_string(port);
  if (address.is_v4()) return address.text() + port_text;
  char name[IF_NAMESIZE];
  const bool named = scope_id != 0 && if_indextoname(scope_id, name) != nullptr;
  return "[" + address.text() + (named ? "%" + std::string(name) : "") + "]" + port_text;
}

SocketAddress::SocketAddress(const Endpoint& endpoint)
    : SocketAddress(endpoint, endpoint.address.family()) {}

SocketAddress::SocketAddress(const Endpoint& endpoint, Family for_family) {
  if (for_family == Family::ipv4) {
    const sockaddr_in in{.sin_family = AF_INET,
                         .sin_port = htons(endpoint.port),
                         .sin_addr = endpoint.address.v4(),
                         .sin_zero = {}};
    std::memcpy(&storage_, &in, size_ = sizeof in);
  } else {
    const sockaddr_in6 in{.sin6_family = AF_INET6,
                          .sin6_port = htons(endpoint.port),
                          .sin6_flowinfo = 0,
                          .sin6_addr = endpoint.address.v6(),
                          .sin6_scope_id = endpoint.scope_id};
    std::memcpy(&storage_, &in, size_ = sizeof in);
  }
}

std::size_t AddressHash::operator()(const Address& address) const {
  return std::hash<std::string_view>{}(address.bytes());
}

std::size_t EndpointHash::operator()(const Endpoint& endpoint) const {
  const std::size_t address = AddressHash{}(endpoint.address);
  return address ^ (endpoint.port * 0x9e3779b97f4a7c15ULL);
}

}  // namespace shunt
