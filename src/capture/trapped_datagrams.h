// SPDX-License-Identifier: GPL-2.0-only
// Datagrams of programs whose calls are trapped. A UDP socket that connects to, or sends to, a
// captured destination is sent to its stand-in (capture/stand_ins.h) instead; what it receives from
// there is shown as coming from the destination. Messages with a destination are sent by us from a
// copy, so that what was looked at is what leaves; write(2) and the like of a connected socket run
// untouched.
//
// Only sockets that have met a stand-in are looked after when they receive: all others' calls run
// as they are. A call that has to wait for a datagram waits here.
//
// Not to be had: ICMP errors about captured destinations, since they arrive at shunt's sockets;
// MSG_ZEROCOPY (ENOBUFS, after which programs copy); several messages from recvmmsg() that waits
// for all of them: it returns with those that are there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>

#include "base/lru_map.h"
#include "capture/courses.h"
#include "capture/stand_ins.h"
#include "capture/trapped_message.h"
#include "capture/trapped_socket.h"
#include "net/task.h"

namespace shunt {

/// On the worker's thread.
class TrappedDatagrams {
 public:
  TrappedDatagrams(CallContext& context, std::shared_ptr<StandIns> stand_ins, Courses& courses)
      : context_(context), stand_ins_(std::move(stand_ins)), courses_(courses) {}

  /// connect() of a UDP socket to a captured destination.
  CallAnswer connect(const TrappedCall& call, const TrappedSocket& socket,
                     const Endpoint& destination);
  /// sendto(), sendmsg() and sendmmsg() of internet sockets but TCP's.
  CallAnswer send(const TrappedCall& call, TrappedSocket socket);
  /// recvfrom(), recvmsg() and recvmmsg().
  CallAnswer receive(const TrappedCall& call);
  [[nodiscard]] bool receives() const { return !sockets_.empty(); }
  /// What a stand-in stands for; nothing: it is none.
  std::optional<Endpoint> meant_by(const Endpoint& address) {
    return stand_ins_->meant_by(address);
  }

 private:
  static constexpr std::size_t kMostSockets = 65'536;  // the oldest show stand-ins
  static constexpr std::size_t kMostWaiting = 1'024;   // calls that wait for a datagram

  struct Sending {
    MessageParts parts;
    int flags = 0;
  };
  std::expected<std::size_t, int> send_one(const TrappedCall& call, const TrappedSocket& socket,
                                           const Sending& sending);
  std::expected<std::optional<SocketAddress>, int> target_of(const TrappedCall& call,
                                                             const TrappedSocket& socket);
  std::expected<SocketAddress, int> stand_in_of(const TrappedSocket& socket,
                                                const Endpoint& destination);
  std::expected<std::int64_t, int> send_many(const TrappedCall& call, const TrappedSocket& socket);
  std::expected<std::int64_t, int> try_send(const TrappedCall& call, const TrappedSocket& socket);
  Task<> send_later(TrappedCall call, TrappedSocket socket);
  std::expected<std::int64_t, int> receive_one(const TrappedCall& call,
                                               const TrappedSocket& socket);
  std::expected<std::int64_t, int> receive_message(const TrappedCall& call,
                                                   const TrappedSocket& socket,
                                                   std::uint64_t header, int flags);
  std::expected<std::int64_t, int> receive_many(const TrappedCall& call,
                                                const TrappedSocket& socket);
  std::expected<std::int64_t, int> try_receive(const TrappedCall& call,
                                               const TrappedSocket& socket);
  Task<> receive_later(TrappedCall call, TrappedSocket socket);
  std::optional<Endpoint> shown_source(const IncomingMessage& message);
  void note(const TrappedCall& call, const TrappedSocket& socket, bool anew);

  CallContext& context_;
  std::shared_ptr<StandIns> stand_ins_;
  Courses& courses_;
  LruMap<std::uint64_t, bool> sockets_{kMostSockets};  // by cookie: those that met a stand-in
  std::size_t waiting_ = 0;
  OutgoingMessage outgoing_;
  IncomingMessage incoming_;
};

}  // namespace shunt
