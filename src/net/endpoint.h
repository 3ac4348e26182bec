// SPDX-License-Identifier: GPL-2.0-only
// One address type for IPv4 and IPv6. An IPv4-mapped IPv6 address (::ffff:a.b.c.d, RFC 4291
// section 2.5.5.2), as a dual-stack socket reports it, is turned into plain IPv4 on the way in, so
// that the same host compares equal however it was seen.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace shunt {

enum class Family : std::uint8_t { ipv4, ipv6 };

class Address {
 public:
  Address() = default;  ///< 0.0.0.0
  explicit Address(in_addr v4);
  explicit Address(const in6_addr& v6);  ///< unmaps ::ffff:a.b.c.d
  static std::optional<Address> parse(std::string_view text);
  static Address any(Family family);
  static Address loopback(Family family);

  [[nodiscard]] Family family() const { return is_v4_ ? Family::ipv4 : Family::ipv6; }
  [[nodiscard]] bool is_v4() const { return is_v4_; }
  [[nodiscard]] bool is_loopback() const;  ///< 127.0.0.0/8 or ::1
  [[nodiscard]] bool is_any() const;
  [[nodiscard]] bool is_link_local() const;  ///< 169.254.0.0/16 or fe80::/10
  [[nodiscard]] bool is_multicast() const;
  [[nodiscard]] bool is_private() const;  ///< RFC 1918 or fc00::/7 (RFC 4193)
  [[nodiscard]] in_addr v4() const;       ///< only when is_v4()
  [[nodiscard]] in6_addr v6() const;      ///< v4-mapped when is_v4()
  /// 4 or 16 bytes in network order, valid while this lives.
  [[nodiscard]] std::string_view bytes() const;
  [[nodiscard]] std::string text() const;
  auto operator<=>(const Address&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};  // IPv4 in the first four, the rest zero
  bool is_v4_ = true;
};

struct Endpoint {
  Address address;
  std::uint16_t port = 0;      ///< host order
  std::uint32_t scope_id = 0;  ///< interface index of an IPv6 link-local address, else 0

  /// "192.0.2.1:80" or "[2001:db8::1]:80".
  static std::optional<Endpoint> parse(std::string_view text);
  static std::optional<Endpoint> from(const sockaddr_storage& storage);
  [[nodiscard]] std::string text() const;
  auto operator<=>(const Endpoint&) const = default;
};

/// An Endpoint as the kernel wants it.
class SocketAddress {
 public:
  /// `for_family` ipv6 maps an IPv4 endpoint to ::ffff:a.b.c.d.
  explicit SocketAddress(const Endpoint& endpoint);
  SocketAddress(const Endpoint& endpoint, Family for_family);
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t size() const { return size_; }

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

struct AddressHash {
  std::size_t operator()(const Address& address) const;
};

struct EndpointHash {
  std::size_t operator()(const Endpoint& endpoint) const;
};

}  // namespace shunt
