// SPDX-License-Identifier: GPL-2.0-only
// Mappings (proxy/udp_mapping.h): which one a session gets, how one is opened, and how long it
// lives. A shared one stays for UdpTimeouts::mapping after the client last sent by it, however
// short its sessions were (RFC 4787 REQ-5), and what peers send alone does not prolong that
// (REQ-6).
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "base/udp_limits.h"
#include "net/socket.h"
#include "net/udp_errors.h"
#include "proxy/dial_flow.h"
#include "proxy/serve_udp.h"

namespace shunt {

namespace {

/// The default is meant for one peer.
void enlarge_receive_buffer(int fd) {
  constexpr int kBytes = limits::kUdpMappingBufferBytes;
  if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, kBytes, "SO_RCVBUFFORCE")) return;
  (void)set_option(fd, SOL_SOCKET, SO_RCVBUF, kBytes, "SO_RCVBUF");
}

}  // namespace

/// A plain listener's client cannot be answered from other addresses, and a name is sent to
/// wherever it leads just then.
bool UdpServer::shares_mapping(const UdpSession& session, const Route& route) const {
  return options_.nat.mapping != NatMapping::symmetric && session.listener == nullptr &&
         !is_query(session.flow) && route.hints.resolver == nullptr &&
         route.way_out->maps_clients();
}

UdpMapping::Key UdpServer::key_of(const UdpSession& session, const WayOut* way_out) const {
  const Endpoint& destination = session.flow.original_destination;
  UdpMapping::Key key{
      .client = session.flow.source, .way_out = way_out, .family = destination.address.family()};
  if (options_.nat.mapping == NatMapping::address_dependent) key.destination = destination.address;
  return key;
}

void UdpServer::map(const Session& session, Route route) {
  const bool shared = shares_mapping(*session, route);
  const UdpMapping::Key key = key_of(*session, route.way_out);
  if (const Mapping found = shared ? find_mapping(key) : nullptr) {
    attach(*session, found);
    if (found->state == UdpMapping::State::open) opened(*session);
    return;
  }
  const Mapping made = make_mapping(*session, key, shared);
  if (made == nullptr) {
    count(Counter::descriptors_short);
    return refuse(*session, {.reason = ConnectReason::resources, .os_error = EMFILE, .detail = {}});
  }
  attach(*session, made);
  start(serve_mapping(made, session, std::move(route.hints)));
}

/// One that leads where a new flow would not go any more keeps its sessions and gets no more.
UdpServer::Mapping UdpServer::find_mapping(const UdpMapping::Key& key) {
  const auto found = shared_mappings_.find(key);
  if (found == shared_mappings_.end()) return nullptr;
  UdpMapping& mapping = *found->second;
  const bool open = mapping.state == UdpMapping::State::open;
  if (!open || key.way_out->still_maps(mapping.upstream, key.family)) return *mapping.share.place;
  shared_mappings_.erase(found);
  return nullptr;
}

UdpServer::Mapping UdpServer::make_mapping(UdpSession& session, const UdpMapping::Key& key,
                                           bool shared) {
  if (!make_room_for_mapping(key.client.address)) return nullptr;
  auto mapping = std::make_shared<UdpMapping>(*this, &UdpServer::over);
  mapping->key = key;
  mapping->shared = shared;
  mapping->policy = session.policy;
  mapping->interface = session.facts.interface;
  mapping->descriptors = 1;
  mapping->sent_at = loop_.now_tick();
  mappings_.insert(key.client.address, mapping);
  if (shared) shared_mappings_.insert_or_assign(key, mapping.get());
  return mapping;
}

/// Gives up mappings until one more fits and its descriptor is granted. A handful at most: a
/// descriptor that is given up may be another worker's or a TCP flow's before it is ours.
bool UdpServer::make_room_for_mapping(const Address& client) {
  constexpr int kMostVictims = 4;
  for (int victims = 0;; ++victims) {
    const Mappings::Crowded crowded = mappings_.crowded(client);
    if (crowded == Mappings::Crowded::no &&
        (options_.fds == nullptr || options_.fds->take_for_udp(1))) {
      return true;
    }
    const Mapping victim = mappings_.victim(client, crowded);
    if (victim == nullptr || victims == kMostVictims) return false;
    count(Counter::udp_mappings_evicted);
    end(*victim, EndReason::evicted);
  }
}

void UdpServer::attach(UdpSession& session, const Mapping& mapping) {
  session.mapping = mapping;
  session.in_mapping = mapping->sessions.insert(mapping->sessions.end(), &session);
  if (session.unsolicited) {
    session.in_unsolicited = mapping->unsolicited.insert(mapping->unsolicited.end(), &session);
    return;
  }
  loop_.timers().disarm(mapping->timer);
  if (options_.nat.filtering == NatFiltering::address_dependent) {
    ++mapping->addresses[session.flow.original_destination.address];
  }
}

/// A mapping of one session goes with it.
void UdpServer::detach(UdpSession& session) {
  const Mapping mapping = std::exchange(session.mapping, nullptr);
  if (mapping == nullptr) return;
  mapping->sessions.erase(session.in_mapping);
  const auto of_address = mapping->addresses.find(session.flow.original_destination.address);
  if (session.unsolicited) {
    mapping->unsolicited.erase(session.in_unsolicited);
  } else if (of_address != mapping->addresses.end() && --of_address->second == 0) {
    mapping->addresses.erase(of_address);
  }
  if (!mapping->shared || closing_) {
    if (mapping->sessions.empty()) end(*mapping, EndReason::shutdown);
  } else if (!mapping->wanted() && mapping->state == UdpMapping::State::open) {
    expire(*mapping);
  }
}

/// Lets it end once the client has not sent for long enough.
void UdpServer::expire(UdpMapping& mapping) {
  const Tick lives = options_.nat.timeouts.mapping / kTickMs;
  const Tick idle = loop_.now_tick() - mapping.sent_at;
  const Tick left = idle < lives ? lives - idle : 1;
  loop_.timers().arm(mapping.timer, loop_.in(static_cast<std::uint32_t>(left * kTickMs)));
}

void UdpServer::over(Timer& timer) {
  UdpMapping& mapping = *static_cast<UdpMapping::LifeTimer&>(timer).mapping;
  if (!mapping.wanted()) mapping.server.end(mapping, EndReason::idle);
}

/// The client answers a peer that has written first.
void UdpServer::solicited(UdpSession& session) {
  if (session.mapping != nullptr) session.mapping->unsolicited.erase(session.in_unsolicited);
  session.unsolicited = false;
  if (session.mapping == nullptr) return;
  loop_.timers().disarm(session.mapping->timer);
  if (options_.nat.filtering == NatFiltering::address_dependent) {
    ++session.mapping->addresses[session.flow.original_destination.address];
  }
}

// `first` is the session that it is opened for: its flow says where from and where to.
Task<> UdpServer::serve_mapping(Mapping mapping, Session first, Hints hints) {
  const Address client = mapping->key.client.address;
  const bool query = is_query(first->flow);
  ++dialling_;
  table_.shares().dial_began(client);
  auto upstream = co_await dial(*mapping, *first, hints);
  --dialling_;
  table_.shares().dial_ended(client);
  first.reset();
  if (mapping->state == UdpMapping::State::ended) co_return;
  if (!upstream) {
    refuse_all(*mapping, upstream.error());
    co_return;
  }
  if (!mapped(*mapping, *std::move(upstream), query)) co_return;
  co_await serve_from(*mapping, 0);
}

Task<std::expected<UdpUpstream, ConnectFailure>> UdpServer::dial(UdpMapping& mapping,
                                                                 UdpSession& session,
                                                                 const Hints& hints) {
  const WayOut& way_out = *mapping.key.way_out;
  if (mapping.shared) return way_out.open_mapping(loop_, session.flow);
  return associate_flow(loop_, way_out, session.flow, hints);
}

bool UdpServer::mapped(UdpMapping& mapping, UdpUpstream upstream, bool query) {
  const int controls = static_cast<int>(upstream.controls.size());
  if (controls > 0 && options_.fds != nullptr) {
    if (!options_.fds->take_for_udp(controls)) {
      count(Counter::descriptors_short);
      refuse_all(mapping, {.reason = ConnectReason::resources, .os_error = EMFILE, .detail = {}});
      return false;
    }
    mapping.descriptors += controls;
  }
  mapping.upstream = std::move(upstream);
  mapping.state = UdpMapping::State::open;
  const int fd = mapping.upstream.socket.fd();
  if (const auto local = local_endpoint(fd)) mapping.socket_family = local->address.family();
  tune_udp_receive(fd, mapping.socket_family, !query);
  if (mapping.unconnected()) queue_udp_errors(fd, mapping.socket_family);
  if (mapping.shared) enlarge_receive_buffer(fd);
  const std::list<UdpSession*> waiting = mapping.sessions;
  std::vector<Session> kept;
  kept.reserve(waiting.size());
  for (UdpSession* session : waiting) kept.push_back(*session->share.place);
  for (const Session& session : kept) {
    if (session->state == UdpSession::State::dialling) opened(*session);
  }
  if (mapping.state != UdpMapping::State::open) return false;
  if (!mapping.wanted()) expire(mapping);
  return true;
}

void UdpServer::refuse_all(UdpMapping& mapping, const ConnectFailure& failure) {
  forget(mapping);
  while (!mapping.sessions.empty() && mapping.state != UdpMapping::State::ended) {
    refuse_as_decided(*mapping.sessions.front(), failure);
  }
  end(mapping, EndReason::shutdown);
}

/// No other session finds it any more.
void UdpServer::forget(UdpMapping& mapping) {
  const auto found = shared_mappings_.find(mapping.key);
  if (found != shared_mappings_.end() && found->second == &mapping) shared_mappings_.erase(found);
}

/// Ends its sessions, closes its sockets at once, whoever waits on them, and gives back what it
/// held.
void UdpServer::end(UdpMapping& mapping, EndReason reason) {
  if (mapping.state == UdpMapping::State::ended) return;
  const Mapping keep = *mapping.share.place;  // the last reference may be a session's
  mapping.state = UdpMapping::State::ended;
  loop_.timers().disarm(mapping.timer);
  forget(mapping);
  while (!mapping.sessions.empty()) end(*mapping.sessions.front(), reason);
  if (mapping.upstream.socket.valid()) loop_.cancel(mapping.upstream.socket.slot());
  for (AssociationControl& control : mapping.upstream.controls) {
    loop_.cancel(control.socket.slot());
  }
  mapping.upstream = {};
  if (options_.fds != nullptr) options_.fds->give_back_udp(std::exchange(mapping.descriptors, 0));
  mappings_.remove(mapping);
}

}  // namespace shunt
