// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/udp_table.h"

namespace shunt {

std::size_t UdpTable::KeyHash::operator()(const Key& key) const {
  const EndpointHash hash;
  return hash(key.source) * 0x9e3779b97f4a7c15ULL + hash(key.destination);
}

UdpTable::UdpTable(std::size_t most_sessions, std::size_t most_per_client)
    : shares_(most_sessions, most_per_client) {
  by_key_.reserve(most_sessions);
}

UdpTable::~UdpTable() = default;

std::shared_ptr<UdpSession> UdpTable::find(const Endpoint& source, const Endpoint& destination,
                                           const Endpoint& sender) const {
  const auto found = by_key_.find({source, destination, sender});
  return found == by_key_.end() ? nullptr : *found->second->share.place;
}

void UdpTable::insert(const std::shared_ptr<UdpSession>& session) {
  const Flow& flow = session->flow;
  by_key_.emplace(Key{flow.source, flow.original_destination, session->sender}, session.get());
  shares_.insert(flow.source.address, session);
}

void UdpTable::remove(UdpSession& session) {
  if (session.share.client == nullptr) return;
  by_key_.erase({session.flow.source, session.flow.original_destination, session.sender});
  shares_.remove(session);
}

std::shared_ptr<UdpSession> UdpTable::any() const {
  return by_key_.empty() ? nullptr : *by_key_.begin()->second->share.place;
}

}  // namespace shunt
