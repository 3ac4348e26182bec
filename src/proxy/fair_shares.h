// SPDX-License-Identifier: GPL-2.0-only
// What clients (source addresses) hold of something that there is only so much of. When all of it
// is taken, the client that holds the most loses its oldest: so whoever takes too many displaces
// its own, never those of a client that has fewer. Everything is O(1): clients stand in one list
// for each number of items.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/endpoint.h"

namespace shunt {

/// Of one thread. Item has a member `FairShares<Item>::Share share`.
template <class Item>
class FairShares {
 public:
  using Items = std::list<std::shared_ptr<Item>>;
  struct Client {
    Address address;
    Items items;                                  ///< the least recently used first
    std::size_t dialling = 0;                     ///< under way, of items that are gone too
    std::size_t queued_bytes = 0;                 ///< of its items, kept by their owner
    typename std::list<Client*>::iterator place;  ///< among the clients of the same size
  };
  struct Share {
    Client* client = nullptr;  ///< null: not in here
    typename Items::iterator place;
  };
  enum class Crowded : std::uint8_t { no, client, table };

  FairShares(std::size_t most, std::size_t most_per_client)
      : most_(most), most_per_client_(most_per_client), by_size_(most_per_client + 1) {}
  FairShares(const FairShares&) = delete;
  FairShares& operator=(const FairShares&) = delete;

  /// Whether one more of `address` fits, or which limit is hit.
  [[nodiscard]] Crowded crowded(const Address& address) const {
    const auto found = clients_.find(address);
    if (found != clients_.end() && found->second->items.size() >= most_per_client_) {
      return Crowded::client;
    }
    return size_ >= most_ ? Crowded::table : Crowded::no;
  }

  /// What to give up for one of `address`: its own oldest when its own limit is hit, else the
  /// oldest of the client with the most. Null where there is nothing.
  [[nodiscard]] std::shared_ptr<Item> victim(const Address& address, Crowded why) const {
    if (why == Crowded::client) {
      const auto found = clients_.find(address);
      if (found == clients_.end() || found->second->items.empty()) return nullptr;
      return found->second->items.front();
    }
    return largest_ == 0 ? nullptr : by_size_[largest_].front()->items.front();
  }

  /// Takes one that crowded() has room for.
  void insert(const Address& address, std::shared_ptr<Item> item) {
    Item& inserted = *item;
    Client& client = client_of(address);
    inserted.share = {.client = &client,
                      .place = client.items.insert(client.items.end(), std::move(item))};
    ++size_;
    resize(client, client.items.size() - 1, client.items.size());
  }

  void remove(Item& item) {
    if (item.share.client == nullptr) return;
    const auto keep = *item.share.place;  // the list may hold the last reference
    Client& client = *item.share.client;
    client.items.erase(item.share.place);
    item.share.client = nullptr;
    --size_;
    resize(client, client.items.size() + 1, client.items.size());
    forget_if_unused(client);
  }

  /// It is now the most recently used of its client.
  static void touch(Item& item) {
    auto& items = item.share.client->items;
    items.splice(items.end(), items, item.share.place);
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  /// All of them, for one pass that may remove some.
  [[nodiscard]] std::vector<std::shared_ptr<Item>> all() const {
    std::vector<std::shared_ptr<Item>> items;
    items.reserve(size_);
    for (const auto& [address, client] : clients_) {
      items.insert(items.end(), client->items.begin(), client->items.end());
    }
    return items;
  }

  [[nodiscard]] std::size_t dials_of(const Address& address) const {
    const auto found = clients_.find(address);
    return found == clients_.end() ? 0 : found->second->dialling;
  }
  /// A dial counts until it returns, even when what it was for was given up meanwhile.
  void dial_began(const Address& address) { ++client_of(address).dialling; }
  void dial_ended(const Address& address) {
    const auto found = clients_.find(address);
    if (found == clients_.end()) return;
    --found->second->dialling;
    forget_if_unused(*found->second);
  }

 private:
  Client& client_of(const Address& address) {
    auto& client = clients_[address];
    if (client == nullptr) {
      client = std::make_unique<Client>();
      client->address = address;
      client->place = by_size_[0].insert(by_size_[0].end(), client.get());
    }
    return *client;
  }
  void resize(Client& client, std::size_t before, std::size_t after) {
    by_size_[after].splice(by_size_[after].end(), by_size_[before], client.place);
    if (after > largest_) largest_ = after;
    while (largest_ > 0 && by_size_[largest_].empty()) --largest_;
  }
  void forget_if_unused(Client& client) {
    if (!client.items.empty() || client.dialling > 0) return;
    by_size_[0].erase(client.place);
    const Address address = client.address;  // the key must outlive the erasure
    clients_.erase(address);
  }

  std::size_t most_;
  std::size_t most_per_client_;
  std::size_t size_ = 0;
  std::unordered_map<Address, std::unique_ptr<Client>, AddressHash> clients_;
  std::vector<std::list<Client*>> by_size_;  // [n]: the clients with n items
  std::size_t largest_ = 0;
};

}  // namespace shunt
