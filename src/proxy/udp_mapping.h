// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "egress/way_out.h"
#include "net/timer_wheel.h"
#include "proxy/fair_shares.h"
#include "proxy/policy.h"

namespace shunt {

class UdpServer;
struct UdpSession;

/// An upstream socket and the sessions that send by it (RFC 4787 section 4). A shared one serves
/// all that one client socket sends by one way out, to whichever destination; its socket is not
/// connected, or leads to a proxy's relay. The others serve one session by a connected socket.
///
///   opening → open → ended    sessions may wait on it while it opens
///
/// Shared by its sessions and by the coroutine that reads it; both on the loop's thread.
struct UdpMapping {
  enum class State : std::uint8_t { opening, open, ended };

  struct Key {
    Endpoint client;
    const WayOut* way_out = nullptr;
    Family family = Family::ipv4;  ///< of the destinations
    Address destination = {};      ///< of an address-dependent one; else 0.0.0.0
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& of) const {
      return EndpointHash{}(of.client) + AddressHash{}(of.destination);
    }
  };

  struct LifeTimer : Timer {
    LifeTimer(UdpMapping* the_mapping, Callback callback) : Timer(callback), mapping(the_mapping) {}
    UdpMapping* mapping;
  };

  UdpMapping(UdpServer& the_server, Timer::Callback over) : server(the_server), timer(this, over) {}

  /// Its socket sends to each peer itself.
  [[nodiscard]] bool unconnected() const { return shared && upstream.relaying == nullptr; }
  /// Sessions that the client began, or answered.
  [[nodiscard]] bool wanted() const { return sessions.size() > unsolicited.size(); }

  UdpServer& server;
  Key key;
  bool shared = false;
  State state = State::opening;
  std::shared_ptr<const Policy> policy;  ///< whose the way out is
  std::optional<std::string> interface;  ///< that the client's datagrams arrive on
  UdpUpstream upstream;
  Family socket_family = Family::ipv4;
  bool fragments = true;  ///< as set_fragmentation() was last told
  bool trains = true;     ///< its route takes UDP_SEGMENT
  int descriptors = 0;    ///< taken from the budget
  Tick sent_at = 0;       ///< when the client's last datagram left
  std::list<UdpSession*> sessions;
  std::list<UdpSession*> unsolicited;  ///< those that their peers began, the oldest first
  /// How many sessions the client has with each address; only where the filtering asks for it.
  std::unordered_map<Address, std::size_t, AddressHash> addresses;
  LifeTimer timer;  ///< while nothing of it is wanted()
  FairShares<UdpMapping>::Share share;
};

}  // namespace shunt
