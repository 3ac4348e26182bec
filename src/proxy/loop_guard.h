// SPDX-License-Identifier: GPL-2.0-only
// The third guard against loops, for when the mark does not help (a rule of somebody else's
// rewrites it, or the traffic comes back from another host): a flow between the very two endpoints
// of one of our own upstream sockets is one that went out of here and came back in. The source
// alone would not do: connect() gives one local port to many sockets as long as they lead elsewhere
// (__inet_hash_connect), to other programs' as well.
//
// A table of words, each the hash of a pair of endpoints: a lookup is a few loads of one cache
// line, and nothing is allocated. Where a pair's line is full the guard misses it, and finds the
// loop one hop later; with 10,000 upstreams that is one pair in 10 million. Two pairs share place
// and hash once in 2^41.
//
// A socket that bears a client's address (keep-source) cannot be told from the client's own, which
// may have the same port towards the same server. So such a flow is let pass, and how often it has
// come by is kept with its upstream: a loop ends at the third time.
//
// On loopback a looped connection can be accepted by another worker while connect() has not yet
// returned in the one that made it, so its port is not known. A flow from one of this machine's
// own addresses therefore waits for the connect() calls that are under way, some 30 us.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "egress/way_out.h"
#include "net/endpoint.h"

namespace shunt {

class LoopGuard final : public UpstreamObserver {
 public:
  /// Learns this machine's present addresses; those of later upstreams are added.
  LoopGuard();
  void opening() override;
  void not_opened() override;
  void opened(const Endpoint& local, const Endpoint& remote) override;
  void opened_for_client(const Endpoint& local, const Endpoint& remote,
                         const Endpoint& client) override;
  void closed(const Endpoint& local, const Endpoint& remote) override;
  /// Whether a flow from here to there is our own upstream's. Any thread.
  [[nodiscard]] bool is_own(const Endpoint& source, const Endpoint& destination) const;
  /// Whether a datagram from there left by an unconnected socket of our own (open_unconnected() in
  /// egress/dial.h): nobody else on this machine has that port meanwhile.
  [[nodiscard]] bool is_own_datagram(const Endpoint& source) const;

 private:
  static constexpr std::size_t kAddresses = 256;
  static constexpr std::size_t kLines = 4096;
  static constexpr std::uint32_t kMostHops = 3;
  /// A cache line: where pairs with one index are kept, 0 where there is none.
  struct alignas(64) Line {
    std::array<std::atomic<std::uint32_t>, 16> pairs{};
  };
  struct Pair {
    std::size_t line;
    std::uint32_t hash;
  };
  static Pair pair_of(const Endpoint& local, const Endpoint& remote);
  /// `hops` from 1: how often the flow has been here, kMostHops: once is too often.
  void remember(const Endpoint& local, const Endpoint& remote, std::uint32_t hops);
  /// 0: it is not known.
  [[nodiscard]] std::uint32_t hops_of(Pair pair) const;
  void learn(const Address& address);
  [[nodiscard]] bool maybe_ours(const Address& address) const;

  std::array<Line, kLines> lines_{};
  std::array<std::atomic<std::uint32_t>, kAddresses> our_addresses_{};
  // Whose a flow is cannot be told from its source's address alone: some upstream bore a client's,
  // or an address of ours was displaced.
  std::atomic<bool> must_look_ = false;
  std::atomic<std::uint64_t> connects_begun_ = 0;
  std::atomic<std::uint64_t> connects_over_ = 0;
};

}  // namespace shunt
