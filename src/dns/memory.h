// SPDX-License-Identifier: GPL-2.0-only
// What resolvers answered, as it passed by: the names that an address was asked for by. A
// connection that says no name of its own is then known by the one that was looked up before.
//
// An answer is the word of whoever gave it, and clients choose whom they ask. So what a client was
// answered is remembered for that client alone, and ties nothing to an address. Only answers of
// resolvers that are trusted do that, and they count for everybody.
//
// Everything is bounded, the least recently learnt goes first: clients, addresses of each, names of
// an address (limits.h). A client that asks much displaces its own addresses only.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dns/message.h"
#include "net/endpoint.h"

namespace shunt::dns {

/// Any thread; a lock for a moment.
class Memory {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Memory(std::vector<Address> trusted_resolvers = {});
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// `resolver` gave `client` this answer: the addresses that the question's name leads to, under
  /// the name that was asked for. It holds for as long as the answer says, within
  /// limits::kDnsMemoryLeastS and kDnsMemoryMostS. Other answers teach nothing. All loopback
  /// addresses are one client.
  void learn(const Address& client, const Address& resolver, const Message& answer,
             Clock::time_point now = Clock::now());

  struct Name {
    std::string name;   ///< lower case, without a final dot; a valid host name
    bool tied = false;  ///< a trusted resolver said so
    bool operator==(const Name&) const = default;
  };
  /// The newest first: what `client` was answered; where that is nothing, what trusted resolvers
  /// answered anybody.
  [[nodiscard]] std::vector<Name> names_of(const Address& client, const Address& address,
                                           Clock::time_point now = Clock::now()) const;
  /// A trusted resolver answered that `address` is one of `name`'s.
  [[nodiscard]] bool ties(std::string_view name, const Address& address,
                          Clock::time_point now = Clock::now()) const;

 private:
  class AddressNames;
  struct Shard;
  [[nodiscard]] Shard& shard_of(const Address& address) const;

  std::vector<Address> trusted_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace shunt::dns
