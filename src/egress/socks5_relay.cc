// SPDX-License-Identifier: GPL-2.0-only
#include "egress/socks5_relay.h"

#include <string>
#include <utility>

#include "egress/dial.h"

namespace shunt::socks5 {
namespace {

using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

/// The header's last two bytes.
std::uint16_t port_of_name(std::string_view header) {
  const auto byte = [header](std::size_t from_end) {
    return static_cast<unsigned char>(header[header.size() - from_end]);
  };
  return static_cast<std::uint16_t>(byte(2) << 8 | byte(1));
}

// A mapping's datagrams bear the headers of the hops before, and then this proxy's own, which names
// the peer.
std::string mapping_header(const UdpUpstream& upstream, const Endpoint& destination) {
  return upstream.header + udp_header(destination);
}

std::optional<UdpUpstream::Received> unwrap_mapping(const UdpUpstream& upstream,
                                                    std::string_view datagram) {
  const auto inner = unwrap_from_destination(upstream, datagram);
  if (!inner) return std::nullopt;
  const auto packet = decode_udp(*inner);
  if (!packet || packet->fragment != 0 || !packet->endpoint) return std::nullopt;
  return UdpUpstream::Received{.peer = *packet->endpoint, .payload = packet->payload};
}

ConnectFailure no_relayed_udp(ConnectFailure failure, const ProxyLink& link) {
  if (failure.reason == ConnectReason::cancelled) return failure;
  const std::string why =
      failure.detail.empty() ? std::string(reason_text(failure.reason)) : std::move(failure.detail);
  // The destination is not to blame.
  const bool ours =
      failure.reason == ConnectReason::resources || failure.reason == ConnectReason::unsupported;
  auto told = link.broken("cannot be sent datagrams: " + why,
                          ours ? failure.reason : ConnectReason::proxy_error);
  told.os_error = failure.os_error;
  return told;
}

}  // namespace

std::optional<std::string_view> unwrap_from_destination(const UdpUpstream& upstream,
                                                        std::string_view datagram) {
  // A relay forwards whatever reaches its port, so only what came from the destination is taken,
  // and by way of each relay. The headers are then nearly always, byte for byte, those that we
  // send.
  if (datagram.starts_with(upstream.header)) return datagram.substr(upstream.header.size());
  std::string_view sent = upstream.header;
  for (std::size_t i = 0; i < upstream.relay_headers; ++i) {
    const auto packet = decode_udp(datagram);
    const auto expected = decode_udp(sent);
    if (!packet || packet->fragment != 0 || !packet->endpoint || !expected) return std::nullopt;
    // What was sent to a name comes back from an address that only the proxy knows.
    const bool named = !expected->endpoint;
    const bool ours = named ? packet->endpoint->port == port_of_name(upstream.header)
                            : packet->endpoint == expected->endpoint;
    if (!ours) return std::nullopt;
    datagram = packet->payload;
    sent = expected->payload;
  }
  return datagram;
}

const UdpUpstream::Relaying kMappingRelaying{.header = mapping_header, .unwrap = unwrap_mapping};

Expected<Endpoint> relay_address(const ProxyLink& link, const Reply& reply) {
  if (!reply.bound || reply.bound->port == 0) {
    return unexpected(link.broken("named no address for its UDP relay"));
  }
  Endpoint relay = *reply.bound;
  const Endpoint& proxy = link.address();
  // Which address that is only the hop before knows, where it resolved the proxy's name.
  if (relay.address.is_any()) relay.address = proxy.address;
  if (relay.address.is_any()) {
    return unexpected(
        link.broken("left it open where its UDP relay is, and only the hop before it "
                    "knows its address"));
  }
  if (relay.address.is_link_local()) relay.scope_id = proxy.scope_id;
  if (relay.address.is_multicast() ||
      (relay.address.is_loopback() && !proxy.address.is_loopback())) {
    return unexpected(link.broken("named an impossible address for its UDP relay"));
  }
  return relay;
}

Task<Expected<UdpUpstream>> open_relay(EventLoop& loop, const ProxyLink& link,
                                       const Endpoint& relay, const Flow& flow,
                                       const UpstreamOptions& options) {
  UdpUpstream upstream;
  if (link.hop() == nullptr) {
    auto datagrams = dial_udp(loop, relay, options);
    if (!datagrams) co_return unexpected(std::move(datagrams).error());
    upstream.socket = std::move(datagrams->socket);
    upstream.reported = std::move(datagrams->reported);
    co_return upstream;
  }
  Flow to_relay = flow;
  to_relay.original_destination = relay;
  auto outer = co_await link.hop()->associate(loop, to_relay);
  if (!outer) co_return unexpected(no_relayed_udp(std::move(outer).error(), link));
  outer->via = {};  // the log names the last hop's way out
  co_return outer;
}

}  // namespace shunt::socks5
