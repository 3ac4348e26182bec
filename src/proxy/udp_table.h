// SPDX-License-Identifier: GPL-2.0-only
// The live UDP sessions of one worker, by client socket and original destination, in bounds. When
// the table is full, the client (source address) that has the most sessions loses its oldest one:
// so whoever opens too many displaces its own, never those of a client that has fewer. Everything
// is O(1): clients stand in one list for each number of sessions.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "proxy/udp_session.h"

namespace shunt {

struct UdpSession::Client {
  Address address;
  std::list<std::shared_ptr<UdpSession>> sessions;  ///< the least recently used first
  std::size_t dialling = 0;                         ///< associations under way, ended ones too
  std::list<Client*>::iterator place;               ///< among the clients of the same size
};

class UdpTable {
 public:
  using Client = UdpSession::Client;

  UdpTable(std::size_t most_sessions, std::size_t most_per_client);
  ~UdpTable();
  UdpTable(const UdpTable&) = delete;
  UdpTable& operator=(const UdpTable&) = delete;

  /// Null when there is none. `sender` is UdpSession::sender.
  [[nodiscard]] std::shared_ptr<UdpSession> find(const Endpoint& source,
                                                 const Endpoint& destination,
                                                 const Endpoint& sender) const;
  enum class Crowded : std::uint8_t { no, client, table };
  /// Whether one more session of `address` fits, or which limit is hit.
  [[nodiscard]] Crowded crowded(const Address& address) const;
  /// The session to give up for one of `address`: its own oldest when its own limit is hit, else
  /// the oldest of the client with the most. Null in an empty table.
  [[nodiscard]] std::shared_ptr<UdpSession> victim(const Address& address, Crowded why) const;

  /// Takes a session whose flow is filled in and that crowded() has room for.
  void insert(std::shared_ptr<UdpSession> session);
  void remove(UdpSession& session);
  /// It is now the most recently used of its client.
  static void touch(UdpSession& session);

  [[nodiscard]] std::size_t size() const { return by_key_.size(); }
  /// Any session, null in an empty table.
  [[nodiscard]] std::shared_ptr<UdpSession> any() const;
  /// All of them, for one pass that may remove some.
  [[nodiscard]] std::vector<std::shared_ptr<UdpSession>> all() const;

  [[nodiscard]] std::size_t dials_of(const Address& address) const;
  /// A dial counts until it returns, even when its session was given up meanwhile.
  void dial_began(UdpSession& session);
  void dial_ended(const Address& address);

 private:
  struct Key {
    Endpoint source;
    Endpoint destination;
    Endpoint sender;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };

  Client& client_of(const Address& address);
  void resize(Client& client, std::size_t before, std::size_t after);
  void forget_if_unused(Client& client);

  std::size_t most_sessions_;
  std::size_t most_per_client_;
  std::unordered_map<Key, UdpSession*, KeyHash> by_key_;
  std::unordered_map<Address, std::unique_ptr<Client>, AddressHash> clients_;
  std::vector<std::list<Client*>> by_size_;  // [n]: the clients with n sessions
  std::size_t largest_ = 0;
};

}  // namespace shunt
