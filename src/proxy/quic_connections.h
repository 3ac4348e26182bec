// SPDX-License-Identifier: GPL-2.0-only
// The connections of QUIC that pass, by where they lead and the connection ID that their server
// chose in its first packets. When a NAT gives the client of one another address or port, the next
// datagrams bear the same ID and, the handshake being over, nothing else that can be read: a new
// session, which is known by that ID for what it is.
//
// What is kept is what the hello said, which is the word of the client that sent it, and no more
// than that: nothing of what was verified, or remembered for that client. A session that takes a
// connection up is decided as if it had sent the hello itself, its name is verified anew, and rules
// about its source see its own. So whoever presents an ID of somebody else's gains what that name
// in a hello of its own would have gained.
//
// The IDs that a server gives out later are encrypted. A connection that goes on under one of them
// (a migration that the client knows of, RFC 9000 section 9) is a session without a hello.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/udp_limits.h"
#include "flow/facts.h"
#include "net/endpoint.h"
#include "proxy/fair_shares.h"
#include "sniff/quic.h"

namespace shunt {

/// What the hello said.
struct QuicConnection {
  AppFact app;
  NameFact name;                          ///< `never` without one; not verified
  std::vector<std::string> alpn_offered;  ///< where it was looked at
};

/// Any thread; a lock for a moment. At the limits the client that has the most loses its oldest.
class QuicConnections {
 public:
  explicit QuicConnections(std::size_t most = limits::kQuicConnections,
                           std::size_t most_per_client = limits::kQuicConnectionsPerClient);

  /// `server` answered `client` with this ID. The first client that it is of keeps it; one that is
  /// shorter than limits::kQuicLeastIdBytes could be anything, and is not kept.
  void learn(const Address& client, const Endpoint& server, std::string_view id,
             QuicConnection connection);
  /// The connection that a datagram to `server` belongs to, which does not begin one.
  [[nodiscard]] std::optional<QuicConnection> find(const Endpoint& server,
                                                   std::string_view datagram);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Key {
    Endpoint server;
    std::string id;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Known {
    Key key;
    QuicConnection connection;
    FairShares<Known>::Share share;
  };
  bool make_room(const Address& client);
  void forget(Known& known);
  Known* find_id(const Endpoint& server, std::string_view id);

  mutable std::mutex mutex_;
  FairShares<Known> shares_;
  std::unordered_map<Key, Known*, KeyHash> by_key_;
  std::array<std::size_t, kQuicMostIdBytes + 1> of_length_{};  // how many IDs are so long
};

}  // namespace shunt
