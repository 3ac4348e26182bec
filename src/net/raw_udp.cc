// SPDX-License-Identifier: GPL-2.0-only
#include "net/raw_udp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/udp_limits.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::size_t kUdpHeaderBytes = sizeof(UdpHeader);
constexpr std::uint8_t kHopLimit = 64;
constexpr std::uint8_t kInternetworkControl = 0xc0;  // TOS of ICMP errors, RFC 1812 section 4.3.2.5

std::uint64_t add_bytes(std::uint64_t sum, std::string_view bytes) {
  std::size_t at = 0;
  for (; at + 4 <= bytes.size(); at += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    sum += word;
  }
  std::array<char, 4> rest{};
  std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), rest.begin());
  std::uint32_t word = 0;
  std::memcpy(&word, rest.data(), sizeof word);
  return sum + word;
}

/// The Internet checksum (RFC 1071), which does not mind the byte order it is computed in.
std::uint16_t fold(std::uint64_t sum) {
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

/// The pseudo header of UDP and ICMPv6. The order of 16-bit words does not matter to the sum.
std::uint64_t pseudo_header(const Address& source, const Address& destination,
                            std::uint8_t protocol, std::size_t length) {
  std::uint64_t sum = add_bytes(0, source.bytes());
  sum = add_bytes(sum, destination.bytes());
  return sum + htons(protocol) + htons(static_cast<std::uint16_t>(length));
}

void put8(std::string& out, std::uint8_t value) { out.push_back(static_cast<char>(value)); }
void put16(std::string& out, std::uint16_t value) {
  put8(out, static_cast<std::uint8_t>(value >> 8));
  put8(out, static_cast<std::uint8_t>(value));
}

void put_ip_header(std::string& out, const Address& source, const Address& destination,
                   std::uint8_t tos, std::uint8_t protocol, std::size_t payload_bytes) {
  if (source.is_v4()) {
    const std::size_t start = out.size();
    put8(out, 0x45);
    put8(out, tos);
    put16(out, static_cast<std::uint16_t>(20 + payload_bytes));
    put16(out, 0);  // identification: the kernel fills in the outer one's
    put16(out, 0);
    put8(out, kHopLimit);
    put8(out, protocol);
    put16(out, 0);
    out.append(source.bytes()).append(destination.bytes());
    const std::uint16_t checksum = fold(add_bytes(0, std::string_view(out).substr(start)));
    std::memcpy(out.data() + start + 10, &checksum, sizeof checksum);
    return;
  }
  put8(out, static_cast<std::uint8_t>(0x60 | tos >> 4));
  put8(out, static_cast<std::uint8_t>(tos << 4));
  put16(out, 0);
  put16(out, static_cast<std::uint16_t>(payload_bytes));
  put8(out, protocol);
  put8(out, kHopLimit);
  out.append(source.bytes()).append(destination.bytes());
}

struct IcmpKind {
  std::uint8_t type;
  std::uint8_t code;
};

IcmpKind icmp_kind(Undeliverable what, Family family) {
  const bool v4 = family == Family::ipv4;
  switch (what) {
    case Undeliverable::port: return v4 ? IcmpKind{3, 3} : IcmpKind{1, 4};
    case Undeliverable::host: return v4 ? IcmpKind{3, 1} : IcmpKind{1, 3};
    case Undeliverable::network: return v4 ? IcmpKind{3, 0} : IcmpKind{1, 0};
    case Undeliverable::prohibited: return v4 ? IcmpKind{3, 13} : IcmpKind{1, 1};
    case Undeliverable::too_big: return v4 ? IcmpKind{3, 4} : IcmpKind{2, 0};
  }
  return {3, 3};
}

/// IP_PKTINFO / IPV6_PKTINFO with the source address: on a transparent socket any will do.
std::size_t put_source(std::span<char> buffer, const Address& source) {
  auto* header = reinterpret_cast<cmsghdr*>(buffer.data());
  if (source.is_v4()) {
    in_pktinfo info{};
    info.ipi_spec_dst = source.v4();
    header->cmsg_level = SOL_IP;
    header->cmsg_type = IP_PKTINFO;
    header->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(header), &info, sizeof info);
    return CMSG_SPACE(sizeof info);
  }
  in6_pktinfo info{};
  info.ipi6_addr = source.v6();
  header->cmsg_level = SOL_IPV6;
  header->cmsg_type = IPV6_PKTINFO;
  header->cmsg_len = CMSG_LEN(sizeof info);
  std::memcpy(CMSG_DATA(header), &info, sizeof info);
  return CMSG_SPACE(sizeof info);
}

std::size_t put_tos(std::span<char> buffer, Family family, std::uint8_t tos) {
  const int value = tos;
  auto* header = reinterpret_cast<cmsghdr*>(buffer.data());
  header->cmsg_level = family == Family::ipv4 ? SOL_IP : SOL_IPV6;
  header->cmsg_type = family == Family::ipv4 ? IP_TOS : IPV6_TCLASS;
  header->cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(CMSG_DATA(header), &value, sizeof value);
  return CMSG_SPACE(sizeof value);
}

/// SO_MARK as a control message (sock_cmsg_send() in net/core/sock.c).
std::size_t put_mark(std::span<char> buffer, std::uint32_t mark) {
  auto* header = reinterpret_cast<cmsghdr*>(buffer.data());
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SO_MARK;
  header->cmsg_len = CMSG_LEN(sizeof mark);
  std::memcpy(CMSG_DATA(header), &mark, sizeof mark);
  return CMSG_SPACE(sizeof mark);
}

/// The port of a raw socket's peer is its protocol to the kernel (raw(7)): 0 leaves it alone.
SocketAddress portless(Endpoint endpoint) {
  endpoint.port = 0;
  return SocketAddress(endpoint);
}

/// The kernel fills in an IPv6 checksum while it copies (IPV6_CHECKSUM), but no IPv4 one.
UdpHeader raw_header(const Endpoint& source, const Endpoint& destination,
                     std::string_view payload) {
  if (source.address.is_v4()) return udp_header(source, destination, payload);
  const auto length = static_cast<std::uint16_t>(kUdpHeaderBytes + payload.size());
  return {htons(source.port), htons(destination.port), htons(length), 0};
}

/// One sendmmsg() worth of raw datagrams: each has its own header and the same source. Without
/// initialisers: clearing 8 KiB for a reply of one datagram would cost more than the reply.
struct RawBatch {
  std::array<mmsghdr, limits::kUdpBatch> headers;
  std::array<UdpHeader, limits::kUdpBatch> udp;
  std::array<std::array<iovec, 2>, limits::kUdpBatch> vectors;
  alignas(cmsghdr) std::array<std::array<char, 128>, limits::kUdpBatch> controls;

  void fill(std::size_t index, const RawUdp::Path& path, const SocketAddress& to,
            const Datagram& datagram) {
    const Address& source = path.source.address;
    udp[index] = raw_header(path.source, path.destination, datagram.payload);
    vectors[index][0] = {&udp[index], kUdpHeaderBytes};
    vectors[index][1] = {const_cast<char*>(datagram.payload.data()), datagram.payload.size()};
    msghdr& header = headers[index].msg_hdr;
    header = {};
    header.msg_name = const_cast<sockaddr*>(to.get());
    header.msg_namelen = to.size();
    header.msg_iov = vectors[index].data();
    header.msg_iovlen = 2;
    const std::span<char> control(controls[index]);
    std::size_t used = put_source(control, source);
    if (datagram.tos != 0) used += put_tos(control.subspan(used), source.family(), datagram.tos);
    if (path.mark != 0) used += put_mark(control.subspan(used), path.mark);
    header.msg_control = control.data();
    header.msg_controllen = used;
  }
};

}  // namespace

Address nobodys_address(Family family) {
  return *Address::parse(family == Family::ipv4 ? "192.0.0.8" : "100::");
}

UdpHeader udp_header(const Endpoint& source, const Endpoint& destination,
                     std::string_view payload) {
  const std::size_t length = kUdpHeaderBytes + payload.size();
  UdpHeader header{htons(source.port), htons(destination.port),
                   htons(static_cast<std::uint16_t>(length)), 0};
  std::uint64_t sum = pseudo_header(source.address, destination.address, IPPROTO_UDP, length);
  sum = add_bytes(sum, {reinterpret_cast<const char*>(&header), sizeof header});
  header.checksum = fold(add_bytes(sum, payload));
  if (header.checksum == 0) header.checksum = 0xffff;  // 0 means: there is none
  return header;
}

std::string icmp_error(Undeliverable what, const Endpoint& client, const Endpoint& destination,
                       std::uint32_t mtu) {
  const Family family = client.address.family();
  const bool v4 = family == Family::ipv4;
  const auto kind = icmp_kind(what, family);
  std::string icmp;
  put8(icmp, kind.type);
  put8(icmp, kind.code);
  put16(icmp, 0);
  const std::uint32_t told_mtu = what == Undeliverable::too_big ? mtu : 0;
  put16(icmp, v4 ? 0 : static_cast<std::uint16_t>(told_mtu >> 16));  // v4: 16 bits, RFC 1191
  put16(icmp, static_cast<std::uint16_t>(told_mtu));
  put_ip_header(icmp, client.address, destination.address, 0, IPPROTO_UDP, kUdpHeaderBytes);
  const UdpHeader quoted = udp_header(client, destination, {});
  icmp.append(reinterpret_cast<const char*>(&quoted), sizeof quoted);

  std::uint64_t sum = add_bytes(0, icmp);
  if (!v4) sum += pseudo_header(destination.address, client.address, IPPROTO_ICMPV6, icmp.size());
  const std::uint16_t checksum = fold(sum);
  std::memcpy(icmp.data() + 2, &checksum, sizeof checksum);

  std::string packet;
  const std::uint8_t protocol = v4 ? std::uint8_t{IPPROTO_ICMP} : std::uint8_t{IPPROTO_ICMPV6};
  put_ip_header(packet, destination.address, client.address, kInternetworkControl, protocol,
                icmp.size());
  return packet + icmp;
}

RawUdp::RawUdp(UniqueFd fd, Family family) : fd_(std::move(fd)), family_(family) {
  if (family == Family::ipv4) return;
  constexpr int kChecksumOffset = offsetof(UdpHeader, checksum);
  (void)set_option(fd_.get(), SOL_IPV6, IPV6_CHECKSUM, kChecksumOffset, "IPV6_CHECKSUM");
}

SendOutcome RawUdp::send(const Path& path, std::span<const Datagram> datagrams) {
  if (fragments_ != path.fragment) {
    set_fragmentation(fd_.get(), family_, fragments_ = path.fragment);
  }
  const SocketAddress to = portless(path.destination);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): fill() writes what sendmmsg() reads
  RawBatch batch;
  SendOutcome outcome;
  std::size_t next = 0;
  while (next < datagrams.size()) {
    const std::size_t count = std::min(datagrams.size() - next, limits::kUdpBatch);
    for (std::size_t i = 0; i < count; ++i) {
      batch.fill(i, path, to, datagrams[next + i]);
    }
    const int sent = ::sendmmsg(fd_.get(), batch.headers.data(), static_cast<unsigned>(count),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      outcome.error = errno;
      if (errno == EAGAIN || errno == ENOBUFS) break;
      ++next;  // this one cannot leave, the next may
      continue;
    }
    for (int i = 0; i < sent; ++i) outcome.bytes += datagrams[next++].payload.size();
    outcome.datagrams += static_cast<std::size_t>(sent);
  }
  return outcome;
}

// The socket's protocol is UDP; with the header included (raw(7), Linux 4.15 for IPv6) the packet
// may be any, so no second socket is needed.
bool RawUdp::report(Undeliverable what, const Endpoint& client, const Endpoint& destination,
                    std::uint32_t mtu) {
  constexpr int kIpv6HeaderIncluded = 36;  // IPV6_HDRINCL, linux/in6.h
  const bool v4 = family_ == Family::ipv4;
  const int level = v4 ? SOL_IP : SOL_IPV6;
  const int option = v4 ? IP_HDRINCL : kIpv6HeaderIncluded;
  if (!set_option(fd_.get(), level, option, 1, "IP_HDRINCL")) return false;
  const std::string packet = icmp_error(what, client, destination, mtu);
  const SocketAddress to = portless(client);
  iovec vector{const_cast<char*>(packet.data()), packet.size()};
  alignas(cmsghdr) std::array<char, 128> control{};
  msghdr header{};
  header.msg_name = const_cast<sockaddr*>(to.get());
  header.msg_namelen = to.size();
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = put_source(control, destination.address);
  const bool sent = ::sendmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  (void)set_option(fd_.get(), level, option, 0, "IP_HDRINCL");
  return sent;
}

}  // namespace shunt
