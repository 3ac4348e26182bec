// SPDX-License-Identifier: GPL-2.0-only
// UDP datagrams and ICMP errors sent from any address and port through one transparent raw socket.
// It holds no port, so it is never in the way of a daemon that binds the same one, and the source
// address is a control message (IP_PKTINFO, ip(7)), so one socket serves all of them.
//
// The kernel hands a copy of every arriving UDP datagram to each raw UDP socket that its addresses
// match (net/ipv4/raw.c). Bound to an address that nobody has, it is given none.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "net/endpoint.h"
#include "net/udp_socket.h"
#include "net/unique_fd.h"

namespace shunt {

/// 192.0.0.8 (RFC 7600, the IPv4 dummy address) or 100:: (RFC 6666, discard-only): what a RawUdp's
/// socket is to be bound to.
[[nodiscard]] Address nobodys_address(Family family);

/// What a router or host tells a sender whose datagram could not be delivered.
enum class Undeliverable : std::uint8_t {
  port,        ///< nobody listens there
  host,        ///< no route to the host
  network,     ///< no route to its network
  prohibited,  ///< somebody on the way does not allow it
  too_big,     ///< longer than `mtu` and not to be fragmented
};

/// The UDP header (RFC 768) of a datagram, checksum included, in network order.
struct UdpHeader {
  std::uint16_t source_port;
  std::uint16_t destination_port;
  std::uint16_t length;
  std::uint16_t checksum;
};
[[nodiscard]] UdpHeader udp_header(const Endpoint& source, const Endpoint& destination,
                                   std::string_view payload);

/// The whole IP packet of an ICMP (RFC 792) or ICMPv6 (RFC 4443) error that answers an empty
/// datagram from `client` to `destination`, as if `destination` had sent it.
[[nodiscard]] std::string icmp_error(Undeliverable what, const Endpoint& client,
                                     const Endpoint& destination, std::uint32_t mtu);

class RawUdp {
 public:
  RawUdp() = default;
  /// `fd`: a transparent raw UDP socket, best bound to nobodys_address().
  RawUdp(UniqueFd fd, Family family);

  [[nodiscard]] bool valid() const { return fd_.valid(); }
  struct Path {
    Endpoint source;
    Endpoint destination;
    bool fragment = true;    ///< see set_fragmentation()
    std::uint32_t mark = 0;  ///< in place of the socket's; 0: that one. Needs CAP_NET_ADMIN.
  };
  /// As DatagramSender::send(), one by one.
  SendOutcome send(const Path& path, std::span<const Datagram> datagrams);
  /// Tells `client` that its datagrams to `destination` do not arrive. False: could not be sent.
  bool report(Undeliverable what, const Endpoint& client, const Endpoint& destination,
              std::uint32_t mtu);

 private:
  UniqueFd fd_;
  Family family_ = Family::ipv4;
  bool fragments_ = true;  // as set_fragmentation() was last told
};

}  // namespace shunt
