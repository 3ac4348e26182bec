// SPDX-License-Identifier: GPL-2.0-only
// Datagrams at plain listeners: who sent them and where they go, from the listener's `to` or from
// the PROXY header before each of them. A header is read for every datagram, what it says is
// checked for the first of a session.
#include <utility>

#include "base/counters.h"
#include "capture/plain_listeners.h"
#include "capture/proxy_header.h"
#include "proxy/serve_udp.h"

namespace shunt {
namespace {

bool tells_ends(const proxy_protocol::Header& header) {
  return !header.local && header.protocol == Protocol::udp;
}

}  // namespace

UdpServer::Session UdpServer::session_of_stand_in(Arrival& arrival) {
  DatagramStandIns& stand_ins = *arrival.listener.plain->stand_ins;
  Flow& flow = arrival.flow;
  const auto meant = stand_ins.meant_by(arrival.received_at);
  if (!meant || !stand_ins.is_client(arrival.sender)) {
    count(Counter::udp_datagrams_dropped);
    return nullptr;
  }
  flow.method = stand_ins.method();
  flow.received_at = arrival.received_at;
  flow.original_destination = *meant;
  if (auto found = table_.find(flow.source, *meant, arrival.sender)) return found;
  return admissible(flow) ? admit(arrival) : nullptr;
}

UdpServer::Session UdpServer::session_of_plain(Arrival& arrival) {
  const PlainListener& plain = *arrival.listener.plain;
  if (plain.stand_ins != nullptr) return session_of_stand_in(arrival);
  const auto drop = [] {
    count(Counter::udp_datagrams_dropped);
    return nullptr;
  };
  Flow& flow = arrival.flow;
  flow.method = CaptureMethod::listener;
  flow.listener = plain.name;
  flow.received_at = arrival.received_at;
  flow.original_destination = plain.to.value_or(Endpoint{});
  std::expected<proxy_protocol::Header, ConnectFailure> header;
  const bool announced = plain.wants_header(arrival.sender.address);
  if (announced) {
    header = split_proxy_header(arrival.message.bytes);
    if (!header) {
      note_bad_header(plain, arrival.sender, header.error().detail);
      return drop();
    }
    if (tells_ends(*header)) {
      flow.source = header->source;
      if (!plain.to) flow.original_destination = header->destination;
    }
  }
  if (auto found = table_.find(flow.source, flow.original_destination, arrival.sender)) {
    return found;
  }
  if (announced) {
    flow.source = arrival.sender;
    if (const auto applied = apply_proxy_header(plain, *header, flow); !applied) {
      warnings_.warn("UDP from " + arrival.sender.text() + " at listen." + plain.name +
                     " refused: " + applied.error().detail);
      return drop();
    }
  }
  return admissible(flow) ? admit(arrival) : nullptr;
}

}  // namespace shunt
