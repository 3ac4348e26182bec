// SPDX-License-Identifier: GPL-2.0-only
// Connections whose clients are told the true outcome: the SYN waits in a queue of netfilter's
// while the upstream is dialled. Then a verdict lets it go on, to the listener or to a rule that
// refuses it, by its mark (capture/hold.h).
//
//   held      the SYN waits; of repeated ones the newest is kept, so that the client measures the
//             round trip of that one
//   admitted  the SYN went to the listener; the worker accepts the connection and hands it over
//             (claim()) to the flow that waits for it, with its upstream ready
//   gone      nobody came for limits::kHeldAdmitMs: the client had given up, which nobody can see
//             before its SYN is let go
//
// Above limits::kHeldConnections or kHeldPerSource, or without descriptors, a client is let in
// first. What the kernel lets pass by itself, because this process does not read, is too: the flow
// that was begun for an earlier SYN of the same client then takes what is accepted.
//
// Later segments come here as well, when the kernel did not find their socket in the moment in
// which it makes a full one of a request's: they are sent through their chain once more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "net/event_loop.h"
#include "net/task.h"
#include "net/unique_fd.h"

namespace shunt {

/// Those of one worker. On its loop's thread. Outlives the flows that it started.
class HeldConnections {
 public:
  struct Callbacks {
    std::function<bool()> take_room;  ///< is there room for one more flow? Then it is taken
    /// Starts a flow that is held, with room taken. Its id is for the callee to give.
    std::function<void(Captured)> start;
    /// Accepts one connection from the backlog of the captured, which may claim() it; false: there
    /// is none.
    std::function<bool(Family)> accept;
  };

  HeldConnections(EventLoop& loop, Hold hold, Callbacks callbacks);
  ~HeldConnections();
  HeldConnections(const HeldConnections&) = delete;
  HeldConnections& operator=(const HeldConnections&) = delete;

  /// Reads the queue until close(). Once.
  Task<> run();
  /// Whether some flow waits for this accepted connection; then it has taken `fd`.
  bool claim(const Endpoint& source, const Endpoint& destination, UniqueFd& fd);
  /// Flows whose client was let in and is to be accepted.
  [[nodiscard]] std::size_t awaited() const { return awaited_; }
  /// Holds no more: who waits is dropped and tries again by himself.
  void close();

 private:
  class Client;
  /// Without scopes: a SYN does not tell them, accept4() does.
  struct Pair {
    Endpoint source;
    Endpoint destination;
    bool operator==(const Pair&) const = default;
  };
  /// A client that was let in: a SYN that it repeated meanwhile may still be in the queue, and is
  /// no new connection.
  struct LetIn {
    Pair pair;
    std::uint32_t sequence = 0;
    bool operator==(const LetIn&) const = default;
  };
  struct PairHash {
    std::size_t operator()(const Pair& pair) const;
  };

  static Pair pair_of(Endpoint source, Endpoint destination);
  void take(const QueuedPacket& packet);
  void hold(const QueuedPacket& packet, const Pair& pair, std::uint32_t sequence);
  LetIn& place_of(const Pair& pair);
  void remember(const Pair& pair, std::uint32_t sequence);
  [[nodiscard]] bool has_room(const Address& source) const;
  void forget(const Client& client);

  EventLoop& loop_;
  Hold hold_;
  Callbacks callbacks_;
  std::unordered_map<Pair, Client*, PairHash> clients_;
  std::unordered_map<Address, std::size_t, AddressHash> of_source_;
  std::vector<LetIn> let_in_;  // by the pair's hash; a later client takes the place of another
  std::size_t awaited_ = 0;
  Slot* slot_ = nullptr;  // of the queue while run() runs
  bool closed_ = false;
};

}  // namespace shunt
