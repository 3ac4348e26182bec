// SPDX-License-Identifier: GPL-2.0-only
// What arrives at mappings: answers, errors, the end of a proxy's association, and datagrams of
// peers that the client has not sent to. Those are let in as UdpNat's filtering says, and where the
// rules would have sent the client's own to that peer by the same way out. A stranger may invent
// any number of peers: what they open is bounded for each mapping, displaces nothing else, and is
// not logged before the rules have let it in.
#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "base/udp_limits.h"
#include "net/udp_errors.h"
#include "proxy/decide_flow.h"
#include "proxy/serve_udp.h"

namespace shunt {
namespace {

/// Where the client could answer. Only what is on loopback itself has peers there.
bool is_peer(const Endpoint& peer, const Endpoint& client) {
  const Address& address = peer.address;
  const bool broadcast = address.is_v4() && address.v4().s_addr == INADDR_BROADCAST;
  return peer.port != 0 && !address.is_any() && !address.is_multicast() &&
         (!address.is_loopback() || client.address.is_loopback()) && !broadcast &&
         address.family() == client.address.family();
}

}  // namespace

Task<> UdpServer::serve_replies(UdpMapping& mapping) {
  int batches = 0;
  while (mapping.state == UdpMapping::State::open) {
    const Wake wake = co_await loop_.readable(mapping.upstream.socket.slot());
    if (mapping.state != UdpMapping::State::open) co_return;
    if (wake != Wake::ready) {
      end(mapping, EndReason::shutdown);
      co_return;
    }
    Slot& slot = mapping.upstream.socket.slot();
    if (mapping.unconnected() && slot.has(Slot::kFailed)) {
      slot.clear(Slot::kFailed);
      (void)take_errors(mapping);
      if (mapping.state != UdpMapping::State::open) co_return;
    }
    const int count = from_upstreams_->receive(mapping.upstream.socket.fd());
    if (count > 0) {
      // recvmmsg() keeps an error that follows a datagram for the next call.
      if (from_upstreams_->drained() && !slot.has(Slot::kFailed)) slot.clear(Slot::kReadable);
      take_replies(mapping, static_cast<std::size_t>(count));
    } else if (count == -EAGAIN) {
      slot.clear(Slot::kReadable | Slot::kFailed);
    } else {
      receive_failed(mapping, -count);
    }
    if (++batches % limits::kUdpTurnBatches == 0) co_await loop_.yield();
  }
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as a chain of proxies
Task<> UdpServer::serve_from(UdpMapping& mapping, std::size_t control) {
  if (control >= mapping.upstream.controls.size()) co_return co_await serve_replies(mapping);
  co_await both(serve_control(mapping, control), serve_from(mapping, control + 1));
}

// A proxy ends an association by closing the TCP connection it was asked for on (RFC 1928
// section 6). Nothing is to arrive on it: whatever does is the end, too.
Task<> UdpServer::serve_control(UdpMapping& mapping, std::size_t index) {
  if (mapping.state != UdpMapping::State::open) co_return;
  const Wake wake = co_await loop_.readable(mapping.upstream.controls[index].socket.slot());
  if (mapping.state != UdpMapping::State::open) co_return;
  end(mapping, wake == Wake::ready ? EndReason::upstream_reset : EndReason::shutdown);
}

/// A connected socket's error is all of its sessions'; an unconnected one's is in its queue.
void UdpServer::receive_failed(UdpMapping& mapping, int error) {
  if (mapping.unconnected()) {
    (void)take_errors(mapping);
    return;
  }
  std::vector<Session> sessions;
  sessions.reserve(mapping.sessions.size());
  for (UdpSession* session : mapping.sessions) sessions.push_back(*session->share.place);
  for (const Session& session : sessions) {
    if (session->state == UdpSession::State::open) upstream_failed(*session, error);
  }
}

/// Yields the MTU that a datagram of ours was too long for, 0: none was.
std::uint32_t UdpServer::take_errors(UdpMapping& mapping) {
  std::uint32_t mtu = 0;
  for (int taken = 0; taken < limits::kUdpTurnErrors; ++taken) {
    if (mapping.state != UdpMapping::State::open) break;
    const auto error = next_udp_error(mapping.upstream.socket.fd());
    if (!error) break;
    if (error->local) {  // whose it is knows send_failed()
      mtu = error->mtu;
      continue;
    }
    const Endpoint& client = mapping.key.client;
    const Session session = table_.find(client, error->destination, client);
    if (session == nullptr || session->mapping.get() != &mapping) continue;
    if (session->state != UdpSession::State::open) continue;
    if (error->fatal) {
      upstream_failed(*session, error->os_error, error->mtu);
    } else if (error->os_error == EHOSTUNREACH || error->os_error == ENETUNREACH) {
      report(*session,
             error->os_error == EHOSTUNREACH ? Undeliverable::host : Undeliverable::network);
    }
  }
  return mtu;
}

void UdpServer::take_replies(UdpMapping& mapping, std::size_t count) {
  if (mapping.shared) return take_from_peers(mapping, count);
  if (mapping.sessions.empty()) return;
  const UdpUpstream& upstream = mapping.upstream;
  datagrams_.clear();
  for (std::size_t i = 0; i < count; ++i) split((*from_upstreams_)[i], datagrams_);
  if (upstream.unwrap != nullptr) {
    std::erase_if(datagrams_, [&upstream](Datagram& datagram) {
      const auto payload = upstream.unwrap(upstream, datagram.payload);
      if (payload) datagram.payload = *payload;
      return !payload;
    });
  }
  if (!datagrams_.empty()) deliver(*mapping.sessions.front());
}

/// Fills from_peers_.
void UdpServer::sort_by_session(UdpMapping& mapping, std::size_t count) {
  const UdpUpstream& upstream = mapping.upstream;
  from_peers_.clear();
  Endpoint last_peer;
  Session session;
  for (std::size_t i = 0; i < count; ++i) {
    message_.clear();  // datagrams_ belongs to the sessions that begin here
    split((*from_upstreams_)[i], message_);
    for (Datagram datagram : message_) {
      std::optional<UdpUpstream::Received> received;
      if (upstream.relaying != nullptr) {
        received = upstream.relaying->unwrap(upstream, datagram.payload);
      } else {
        received = {.peer = from_upstreams_->source(i), .payload = datagram.payload};
      }
      if (!received) continue;
      datagram.payload = received->payload;
      if (received->peer != last_peer) {
        last_peer = received->peer;
        session = session_of_peer(mapping, last_peer);
      }
      if (session == nullptr) shunt::count(Counter::udp_datagrams_dropped);
      if (session != nullptr) from_peers_.push_back({session, datagram});
    }
  }
}

// The datagrams of one session are delivered together, in their order. Trains make long batches,
// and are of one peer each: there only neighbours are put together.
void UdpServer::take_from_peers(UdpMapping& mapping, std::size_t count) {
  sort_by_session(mapping, count);
  const std::size_t total = from_peers_.size();
  for (std::size_t i = 0; i < total; ++i) {
    const Session session = std::move(from_peers_[i].session);
    if (session == nullptr) continue;
    datagrams_.assign(1, from_peers_[i].datagram);
    for (std::size_t j = i + 1; j < total; ++j) {
      if (from_peers_[j].session != session) {
        if (total > limits::kUdpBatch) break;
        continue;
      }
      datagrams_.push_back(from_peers_[j].datagram);
      from_peers_[j].session.reset();
    }
    if (session->state == UdpSession::State::open) {
      deliver(*session);
    } else if (session->state == UdpSession::State::dialling) {
      queue(*session, true);
    }
  }
  from_peers_.clear();
}

/// Null where the peer's datagrams are not for the client.
UdpServer::Session UdpServer::session_of_peer(UdpMapping& mapping, const Endpoint& peer) {
  const Endpoint& client = mapping.key.client;
  if (const Session found = table_.find(client, peer, client)) {
    const bool undecided = found->unsolicited && found->mapping == nullptr;
    return undecided || found->mapping.get() == &mapping ? found : nullptr;
  }
  if (!is_peer(peer, client)) return nullptr;
  if (!lets_in(mapping, peer)) {
    count(Counter::udp_unsolicited_filtered);
    return nullptr;
  }
  return admit_unsolicited(mapping, peer);
}

bool UdpServer::lets_in(const UdpMapping& mapping, const Endpoint& peer) const {
  switch (options_.nat.filtering) {
    case NatFiltering::endpoint_independent: return true;
    case NatFiltering::address_dependent: return mapping.addresses.contains(peer.address);
    case NatFiltering::address_and_port_dependent: return false;
  }
  return false;
}

UdpServer::Session UdpServer::admit_unsolicited(UdpMapping& mapping, const Endpoint& peer) {
  const Endpoint client = mapping.key.client;
  const bool full = table_.shares().crowded(client.address) != UdpTable::Crowded::no;
  if (closing_ || full || dials_full(client.address)) return nullptr;
  if (mapping.unsolicited.size() >= limits::kUdpUnsolicited) {
    count(Counter::udp_unsolicited_evicted);
    end(*mapping.unsolicited.front(), EndReason::evicted);
  }
  auto session = std::make_shared<UdpSession>(*this, &UdpServer::idle);
  session->flow = {.id = options_.next_flow_id(),
                   .protocol = Protocol::udp,
                   .method = options_.method,
                   .source = client,
                   .original_destination = peer,
                   .started = Clock::now()};
  session->sender = client;
  session->unsolicited = true;
  learn(*session, {});
  session->facts.interface = mapping.interface;
  table_.insert(session);
  start(serve_unsolicited(session, *mapping.share.place));
  return session;
}

// Decided as if the client had sent first. A client that does so meanwhile makes it a session like
// any other.
Task<> UdpServer::serve_unsolicited(Session session, Mapping mapping) {
  auto route = co_await decide(*session);
  if (session->state == UdpSession::State::ended) co_return;
  const bool same_way = route && route->way_out != nullptr &&
                        mapping->state == UdpMapping::State::open &&
                        route->way_out->name() == mapping->key.way_out->name();
  if (session->unsolicited && !same_way) {
    count(Counter::udp_unsolicited_filtered);
    end(*session, EndReason::refused);
    co_return;
  }
  session->started = true;
  if (options_.log != nullptr) options_.log->flow_start(session->flow);
  if (same_way) {
    attach(*session, mapping);
    opened(*session);
  } else if (session->state == UdpSession::State::answering) {
    answer_queued(*session);
  } else if (route) {
    map(session, *std::move(route));
  } else {
    refuse_as_decided(*session, route.error());
  }
}

}  // namespace shunt
