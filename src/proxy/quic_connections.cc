// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/quic_connections.h"

#include <functional>
#include <utility>

#include "base/counters.h"

namespace shunt {

std::size_t QuicConnections::KeyHash::operator()(const Key& key) const {
  return EndpointHash{}(key.server) * 0x9e3779b97f4a7c15ULL + std::hash<std::string>{}(key.id);
}

QuicConnections::QuicConnections(std::size_t most, std::size_t most_per_client)
    : shares_(most, most_per_client) {}

void QuicConnections::learn(const Address& client, const Endpoint& server, std::string_view id,
                            QuicConnection connection) {
  if (id.size() < limits::kQuicLeastIdBytes || id.size() > kQuicMostIdBytes) return;
  const std::scoped_lock lock(mutex_);
  if (Known* known = find_id(server, id)) {
    if (known->share.client->address == client) known->connection = std::move(connection);
    return;
  }
  if (!make_room(client)) return;
  auto known = std::make_shared<Known>();
  known->key = {.server = server, .id = std::string(id)};
  known->connection = std::move(connection);
  by_key_.emplace(known->key, known.get());
  ++of_length_[id.size()];
  shares_.insert(client, std::move(known));
}

std::optional<QuicConnection> QuicConnections::find(const Endpoint& server,
                                                    std::string_view datagram) {
  const std::scoped_lock lock(mutex_);
  const Known* known = nullptr;
  if (const auto header = quic_long_header(datagram)) {
    // An Initial might begin another connection: its hello is read.
    if (header->kind != QuicPacketKind::handshake) return std::nullopt;
    known = find_id(server, header->destination_id);
  } else {
    for (std::size_t length = of_length_.size(); length-- > 0 && known == nullptr;) {
      if (of_length_[length] > 0) known = find_id(server, quic_short_id(datagram, length));
    }
  }
  return known == nullptr ? std::nullopt : std::optional(known->connection);
}

std::size_t QuicConnections::size() const {
  const std::scoped_lock lock(mutex_);
  return shares_.size();
}

bool QuicConnections::make_room(const Address& client) {
  const auto crowded = shares_.crowded(client);
  if (crowded == FairShares<Known>::Crowded::no) return true;
  const auto victim = shares_.victim(client, crowded);
  if (victim == nullptr) return false;
  count(Counter::quic_ids_forgotten);
  forget(*victim);
  return true;
}

void QuicConnections::forget(Known& known) {
  --of_length_[known.key.id.size()];
  by_key_.erase(Key(known.key));  // the key must outlive the erasure
  shares_.remove(known);
}

/// One that is asked for is in use: it goes last.
auto QuicConnections::find_id(const Endpoint& server, std::string_view id) -> Known* {
  if (id.empty()) return nullptr;
  const auto found = by_key_.find({.server = server, .id = std::string(id)});
  if (found == by_key_.end()) return nullptr;
  FairShares<Known>::touch(*found->second);
  return found->second;
}

}  // namespace shunt
