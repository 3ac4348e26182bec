// SPDX-License-Identifier: GPL-2.0-only
#include "capture/syn_packet.h"

#include <netinet/in.h>

#include <cstddef>
#include <cstring>

namespace shunt {
namespace {

constexpr std::size_t kIpv4Header = 20;
constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kTcpFlagsEnd = 14;  // of a TCP header: up to its flags
constexpr std::size_t kExtensionUnit = 8;
constexpr int kMostExtensions = 8;

constexpr std::uint8_t kFin = 1;
constexpr std::uint8_t kSyn = 2;
constexpr std::uint8_t kRst = 4;
constexpr std::uint8_t kAck = 16;

/// Bytes of a packet; what lies behind its end is 0, and has() tells.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] bool has(std::size_t end) const { return end <= bytes_.size(); }
  [[nodiscard]] std::uint8_t u8(std::size_t at) const {
    return has(at + 1) ? static_cast<std::uint8_t>(bytes_[at]) : std::uint8_t{0};
  }
  [[nodiscard]] std::uint16_t u16(std::size_t at) const {
    return static_cast<std::uint16_t>(u8(at) << 8 | u8(at + 1));
  }
  [[nodiscard]] std::uint32_t u32(std::size_t at) const {
    return static_cast<std::uint32_t>(u16(at)) << 16 | u16(at + 2);
  }
  [[nodiscard]] std::optional<Address> address(std::size_t at, std::size_t size) const {
    if (!has(at + size)) return std::nullopt;
    if (size == sizeof(in_addr)) {
      in_addr v4{};
      std::memcpy(&v4, bytes_.data() + at, sizeof v4);
      return Address(v4);
    }
    in6_addr v6{};
    std::memcpy(&v6, bytes_.data() + at, sizeof v6);
    return Address(v6);
  }

 private:
  std::string_view bytes_;
};

/// Where TCP begins; nothing where it does not.
std::optional<std::size_t> tcp_in_ipv4(const Bytes& packet) {
  const std::size_t header = std::size_t{packet.u8(0)} % 16 * 4;
  constexpr std::uint16_t kFragmentOffset = 0x1fff;
  if (header < kIpv4Header || packet.u8(9) != IPPROTO_TCP) return std::nullopt;
  if ((packet.u16(6) & kFragmentOffset) != 0) return std::nullopt;
  return header;
}

std::optional<std::size_t> tcp_in_ipv6(const Bytes& packet) {
  std::uint8_t next = packet.u8(6);
  std::size_t at = kIpv6Header;
  for (int i = 0; i <= kMostExtensions && packet.has(at); ++i) {
    switch (next) {
      case IPPROTO_TCP: return at;
      case IPPROTO_FRAGMENT:
        if ((packet.u16(at + 2) & 0xfff8) != 0) return std::nullopt;
        next = packet.u8(at);
        at += kExtensionUnit;
        break;
      case IPPROTO_AH:
        next = packet.u8(at);
        at += (std::size_t{packet.u8(at + 1)} + 2) * 4;
        break;
      case IPPROTO_HOPOPTS:
      case IPPROTO_ROUTING:
      case IPPROTO_DSTOPTS:
        next = packet.u8(at);
        at += (std::size_t{packet.u8(at + 1)} + 1) * kExtensionUnit;
        break;
      default: return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<TcpHead> tcp_head(std::string_view bytes) {
  const Bytes packet(bytes);
  const int version = packet.u8(0) >> 4;
  const bool v4 = version == 4;
  if (!v4 && version != 6) return std::nullopt;
  const auto tcp = v4 ? tcp_in_ipv4(packet) : tcp_in_ipv6(packet);
  if (!tcp || !packet.has(*tcp + kTcpFlagsEnd)) return std::nullopt;
  const std::size_t size = v4 ? 4 : 16;
  const std::size_t first = v4 ? 12 : 8;
  const auto source = packet.address(first, size);
  const auto destination = packet.address(first + size, size);
  if (!source || !destination) return std::nullopt;
  const std::uint8_t flags = packet.u8(*tcp + 13) & (kFin | kSyn | kRst | kAck);
  return TcpHead{.source = {*source, packet.u16(*tcp)},
                 .destination = {*destination, packet.u16(*tcp + 2)},
                 .sequence = packet.u32(*tcp + 4),
                 .syn = flags == kSyn};
}

}  // namespace shunt
