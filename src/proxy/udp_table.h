// SPDX-License-Identifier: GPL-2.0-only
// The live UDP sessions of one worker, by client socket and original destination, in bounds that
// clients share fairly (proxy/fair_shares.h).
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "proxy/fair_shares.h"
#include "proxy/udp_session.h"

namespace shunt {

class UdpTable {
 public:
  using Shares = FairShares<UdpSession>;
  using Crowded = Shares::Crowded;

  UdpTable(std::size_t most_sessions, std::size_t most_per_client);
  ~UdpTable();
  UdpTable(const UdpTable&) = delete;
  UdpTable& operator=(const UdpTable&) = delete;

  /// Null when there is none. `sender` is UdpSession::sender.
  [[nodiscard]] std::shared_ptr<UdpSession> find(const Endpoint& source,
                                                 const Endpoint& destination,
                                                 const Endpoint& sender) const;
  [[nodiscard]] Shares& shares() { return shares_; }
  [[nodiscard]] const Shares& shares() const { return shares_; }

  /// Takes a session whose flow is filled in and that shares() have room for.
  void insert(const std::shared_ptr<UdpSession>& session);
  void remove(UdpSession& session);

  [[nodiscard]] std::size_t size() const { return by_key_.size(); }
  /// Any session, null in an empty table.
  [[nodiscard]] std::shared_ptr<UdpSession> any() const;

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

  Shares shares_;
  std::unordered_map<Key, UdpSession*, KeyHash> by_key_;
};

}  // namespace shunt
