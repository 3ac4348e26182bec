// SPDX-License-Identifier: GPL-2.0-only
#include "dns/memory.h"

#include <algorithm>
#include <functional>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/counters.h"
#include "base/limits.h"

namespace shunt::dns {
namespace {

using Clock = Memory::Clock;

constexpr std::size_t kShards = 16;
constexpr std::size_t kHostNameBytes = 253;

/// Escapes (dns/message.h) are not among these, so other bytes are not either.
bool is_host_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= kHostNameBytes && std::ranges::all_of(name, allowed) &&
         !Address::parse(name);
}

/// 127.0.0.1 asks 127.0.0.53 what ::1 asks ::1: all that speaks from loopback is one client.
Address client_at(const Address& source) {
  return source.is_loopback() ? Address::loopback(Family::ipv4) : source;
}

/// Values by address, the least recently used goes when there are too many.
template <class Value>
class Recent {
 public:
  explicit Recent(std::size_t most) : most_(most) {}

  /// Made where it is new; now the most recently used.
  Value& touch(const Address& address) {
    if (const auto found = by_address_.find(address); found != by_address_.end()) {
      items_.splice(items_.begin(), items_, found->second);
      return items_.front().value;
    }
    if (items_.size() >= most_) {
      count(Counter::dns_memory_evicted);
      by_address_.erase(items_.back().address);
      items_.pop_back();
    }
    items_.push_front({address, {}});
    by_address_.emplace(address, items_.begin());
    return items_.front().value;
  }

  /// Null where there is none.
  [[nodiscard]] const Value* find(const Address& address) const {
    const auto found = by_address_.find(address);
    return found == by_address_.end() ? nullptr : &found->second->value;
  }

 private:
  struct Item {
    Address address;
    Value value;
  };
  std::size_t most_;
  std::list<Item> items_;
  std::unordered_map<Address, typename std::list<Item>::iterator, AddressHash> by_address_;
};

struct KnownName {
  std::string name;
  Clock::time_point expires;
  Clock::time_point tied_until;  // an answer that is not trusted does not prolong that
};
using KnownNames = std::vector<KnownName>;  // the newest first

struct Learnt {
  std::string_view name;
  bool trusted;
  Clock::time_point now;
};

void note(KnownNames& names, const Learnt& learnt, std::uint32_t ttl_s) {
  const auto lifetime =
      std::chrono::seconds(std::clamp(ttl_s, limits::kDnsMemoryLeastS, limits::kDnsMemoryMostS));
  std::erase_if(names, [&](const KnownName& known) { return known.expires <= learnt.now; });
  auto known = std::ranges::find(names, learnt.name, &KnownName::name);
  if (known == names.end()) {
    if (names.size() >= limits::kDnsMemoryNames) {
      count(Counter::dns_memory_evicted);
      names.pop_back();
    }
    names.insert(names.begin(), {std::string(learnt.name), {}, {}});
  } else {
    std::rotate(names.begin(), known, known + 1);
  }
  KnownName& fresh = names.front();
  fresh.expires = std::max(fresh.expires, learnt.now + lifetime);
  if (learnt.trusted) fresh.tied_until = std::max(fresh.tied_until, learnt.now + lifetime);
}

std::vector<Memory::Name> valid_names(const KnownNames* known, Clock::time_point now) {
  std::vector<Memory::Name> names;
  if (known == nullptr) return names;
  for (const KnownName& each : *known) {
    if (each.expires > now) names.push_back({each.name, each.tied_until > now});
  }
  return names;
}

}  // namespace

class Memory::AddressNames : public Recent<KnownNames> {
 public:
  AddressNames() : Recent(limits::kDnsMemoryAddresses) {}
  using Recent::Recent;
};

/// A client's answers are in the shard of its address, trusted ones in that of the address that
/// they tell of. No two are ever locked at once.
struct Memory::Shard {
  std::mutex mutex;
  Recent<AddressNames> clients{limits::kDnsMemoryClients / kShards};
  AddressNames trusted{limits::kDnsMemoryTrusted / kShards};
};

Memory::Memory(std::vector<Address> trusted_resolvers)
    : trusted_(std::move(trusted_resolvers)), shards_(std::make_unique<Shard[]>(kShards)) {}

Memory::~Memory() = default;

Memory::Shard& Memory::shard_of(const Address& address) const {
  return shards_[AddressHash{}(address) % kShards];
}

void Memory::learn(const Address& client, const Address& resolver, const Message& answer,
                   Clock::time_point now) {
  const Address asker = client_at(client);
  if (!answer.response || !is_host_name(answer.question.name)) return;
  const std::vector<Resolved> resolved = resolved_addresses(answer);
  if (resolved.empty()) return;
  const Learnt learnt{.name = answer.question.name,
                      .trusted = std::ranges::find(trusted_, resolver) != trusted_.end(),
                      .now = now};
  {
    Shard& shard = shard_of(asker);
    const std::scoped_lock lock(shard.mutex);
    AddressNames& own = shard.clients.touch(asker);
    for (const Resolved& each : resolved) note(own.touch(each.address), learnt, each.ttl_s);
  }
  if (!learnt.trusted) return;
  for (const Resolved& each : resolved) {
    Shard& shard = shard_of(each.address);
    const std::scoped_lock lock(shard.mutex);
    note(shard.trusted.touch(each.address), learnt, each.ttl_s);
  }
}

std::vector<Memory::Name> Memory::names_of(const Address& client, const Address& address,
                                           Clock::time_point now) const {
  const Address asker = client_at(client);
  {
    Shard& shard = shard_of(asker);
    const std::scoped_lock lock(shard.mutex);
    const AddressNames* own = shard.clients.find(asker);
    auto names = valid_names(own == nullptr ? nullptr : own->find(address), now);
    if (!names.empty()) return names;
  }
  Shard& shard = shard_of(address);
  const std::scoped_lock lock(shard.mutex);
  return valid_names(shard.trusted.find(address), now);
}

bool Memory::ties(std::string_view name, const Address& address, Clock::time_point now) const {
  if (trusted_.empty()) return false;
  Shard& shard = shard_of(address);
  const std::scoped_lock lock(shard.mutex);
  const KnownNames* names = shard.trusted.find(address);
  return names != nullptr && std::ranges::any_of(*names, [&](const KnownName& known) {
           return known.name == name && known.tied_until > now;
         });
}

}  // namespace shunt::dns
