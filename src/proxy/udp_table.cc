// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/udp_table.h"

namespace shunt {

std::size_t UdpTable::KeyHash::operator()(const Key& key) const {
  const EndpointHash hash;
  return hash(key.source) * 0x9e3779b97f4a7c15ULL + hash(key.destination);
}

UdpTable::UdpTable(std::size_t most_sessions, std::size_t most_per_client)
    : most_sessions_(most_sessions),
      most_per_client_(most_per_client),
      by_size_(most_per_client + 1) {
  by_key_.reserve(most_sessions);
}

UdpTable::~UdpTable() = default;

std::shared_ptr<UdpSession> UdpTable::find(const Endpoint& source, const Endpoint& destination,
                                           const Endpoint& sender) const {
  const auto found = by_key_.find({source, destination, sender});
  return found == by_key_.end() ? nullptr : *found->second->place;
}

UdpTable::Crowded UdpTable::crowded(const Address& address) const {
  const auto found = clients_.find(address);
  if (found != clients_.end() && found->second->sessions.size() >= most_per_client_) {
    return Crowded::client;
  }
  return by_key_.size() >= most_sessions_ ? Crowded::table : Crowded::no;
}

std::shared_ptr<UdpSession> UdpTable::victim(const Address& address, Crowded why) const {
  if (why == Crowded::client) {
    const auto found = clients_.find(address);
    if (found == clients_.end() || found->second->sessions.empty()) return nullptr;
    return found->second->sessions.front();
  }
  return largest_ == 0 ? nullptr : by_size_[largest_].front()->sessions.front();
}

UdpTable::Client& UdpTable::client_of(const Address& address) {
  auto& client = clients_[address];
  if (client == nullptr) {
    client = std::make_unique<Client>();
    client->address = address;
    client->place = by_size_[0].insert(by_size_[0].end(), client.get());
  }
  return *client;
}

void UdpTable::resize(Client& client, std::size_t before, std::size_t after) {
  by_size_[after].splice(by_size_[after].end(), by_size_[before], client.place);
  if (after > largest_) largest_ = after;
  while (largest_ > 0 && by_size_[largest_].empty()) --largest_;
}

void UdpTable::forget_if_unused(Client& client) {
  if (!client.sessions.empty() || client.dialling > 0) return;
  by_size_[0].erase(client.place);
  const Address address = client.address;  // the key must outlive the erasure
  clients_.erase(address);
}

void UdpTable::insert(std::shared_ptr<UdpSession> session) {
  UdpSession& inserted = *session;
  Client& client = client_of(inserted.flow.source.address);
  inserted.client = &client;
  inserted.place = client.sessions.insert(client.sessions.end(), std::move(session));
  by_key_.emplace(Key{inserted.flow.source, inserted.flow.original_destination, inserted.sender},
                  &inserted);
  resize(client, client.sessions.size() - 1, client.sessions.size());
}

void UdpTable::remove(UdpSession& session) {
  if (session.client == nullptr) return;
  const auto keep = *session.place;  // the list may hold the last reference
  Client& client = *session.client;
  by_key_.erase({session.flow.source, session.flow.original_destination, session.sender});
  client.sessions.erase(session.place);
  session.client = nullptr;
  resize(client, client.sessions.size() + 1, client.sessions.size());
  forget_if_unused(client);
}

void UdpTable::touch(UdpSession& session) {
  auto& sessions = session.client->sessions;
  sessions.splice(sessions.end(), sessions, session.place);
}

std::shared_ptr<UdpSession> UdpTable::any() const {
  return by_key_.empty() ? nullptr : *by_key_.begin()->second->place;
}

std::vector<std::shared_ptr<UdpSession>> UdpTable::all() const {
  std::vector<std::shared_ptr<UdpSession>> sessions;
  sessions.reserve(by_key_.size());
  for (const auto& [key, session] : by_key_) sessions.push_back(*session->place);
  return sessions;
}

std::size_t UdpTable::dials_of(const Address& address) const {
  const auto found = clients_.find(address);
  return found == clients_.end() ? 0 : found->second->dialling;
}

void UdpTable::dial_began(UdpSession& session) { ++session.client->dialling; }

void UdpTable::dial_ended(const Address& address) {
  const auto found = clients_.find(address);
  if (found == clients_.end()) return;
  --found->second->dialling;
  forget_if_unused(*found->second);
}

}  // namespace shunt
