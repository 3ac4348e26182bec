// SPDX-License-Identifier: GPL-2.0-only
// A queue of netfilter's (NFQUEUE): rules put packets into it, and each waits there for a verdict.
// A packet whose queue nobody reads is dropped, or passes where its rule says bypass; when the
// socket closes, whoever waits is dropped (instance_destroy_rcu() in nfnetlink_queue.c).
//
// A socket acts in the network namespace that it was made in. Whoever has CAP_NET_ADMIN over that
// namespace's user namespace may bind it, wherever he is: so an unprivileged parent drives the
// queue of a namespace that its child made.
//
// A verdict lets a packet go on behind the chain that queued it, or sends it through that chain
// once more (repeat), each time with the mark that it is given.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernel/queue_message.h"
#include "net/unique_fd.h"

namespace shunt {

struct PacketQueueOptions {
  std::uint16_t number = 0;
  std::uint32_t most_packets = 0;  ///< that wait; further ones pass (NFQA_CFG_F_FAIL_OPEN)
  std::uint32_t bytes = 0;         ///< of each packet that are handed over
};

/// Of one thread.
class PacketQueue {
 public:
  /// A socket in the calling thread's network namespace, not bound to a queue yet.
  static Result<UniqueFd> make_socket();
  /// Kind::conflict where the queue is somebody else's (or there is no right to have any).
  static Result<PacketQueue> create(UniqueFd fd, const PacketQueueOptions& options);

  /// Readable when packets wait.
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] std::uint16_t number() const { return number_; }
  struct Received {
    std::span<const QueuedPacket> packets;  ///< valid until the next call
    bool more = false;                      ///< perhaps; otherwise fd() tells when there is more
  };
  /// What waits now, up to kBatch messages, of which the kernel's errors are no packets. Never
  /// blocks.
  Received receive();

  /// UniqueFd::adopt() of fd().
  void adopt() { socket_.adopt(); }
  /// Gives the queue up: what waits is dropped, what comes later passes (bypass).
  void close() { socket_.reset(); }

  /// These do not fail: a packet that is gone needs no verdict.
  void accept(const QueuedPacket& packet, std::uint32_t mark);
  void repeat(const QueuedPacket& packet, std::uint32_t mark);
  void drop(const QueuedPacket& packet);

  static constexpr std::size_t kBatch = 16;

 private:
  struct Buffers;
  PacketQueue(UniqueFd socket, std::uint16_t number);
  void verdict(const QueuedPacket& packet, std::uint32_t what, std::uint32_t mark);

  UniqueFd socket_;
  std::uint16_t number_;
  std::shared_ptr<Buffers> buffers_;  // shared_ptr: deletes what this header does not know
  std::vector<QueuedPacket> packets_;
};

/// The first of `count` neighbouring numbers of queues that nobody reads in this network namespace,
/// far from those that people choose. Rules of others that name a queue which nobody reads yet
/// cannot be seen by this. Kind::conflict where there are none.
Result<std::uint16_t> free_queues(unsigned count);
/// The numbers of those that somebody reads here; empty where the kernel has none or that may not
/// be read.
std::vector<std::uint16_t> queues_in_use();

}  // namespace shunt
