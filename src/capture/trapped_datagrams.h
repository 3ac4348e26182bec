// SPDX-License-Identifier: GPL-2.0-only
// Datagrams of programs whose calls are trapped. A UDP socket that connects to, or sends to, a
// captured destination is sent to its stand-in (capture/stand_ins.h) instead; what it receives from
// there is shown as coming from the destination (capture/trapped_receives.h). Messages with a
// destination are sent by us from a copy, so that what was looked at is what leaves; write(2) and
// the like of a connected socket run untouched.
//
// Only sockets that have met a stand-in are looked after when they receive: all others' calls run
// as they are.
//
// Not to be had: ICMP errors about captured destinations, since they arrive at shunt's sockets;
// MSG_ZEROCOPY (ENOBUFS, after which programs copy).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <utility>

#include "base/lru_map.h"
#include "capture/call_limits.h"
#include "capture/courses.h"
#include "capture/stand_ins.h"
#include "capture/trapped_message.h"
#include "capture/trapped_receives.h"
#include "capture/trapped_socket.h"
#include "net/task.h"

namespace shunt {

/// On the worker's thread.
class TrappedDatagrams {
 public:
  TrappedDatagrams(CallContext& context, std::shared_ptr<StandIns> stand_ins, Courses& courses)
      : context_(context),
        stand_ins_(std::move(stand_ins)),
        courses_(courses),
        receives_(context, stand_ins_) {}

  /// connect() of a UDP socket to a captured destination.
  CallAnswer connect(const TrappedCall& call, const TrappedSocket& socket,
                     const Endpoint& destination);
  /// The same to an address of IPv6 that is not captured: from the address of IPv4 that a
  /// connection to a stand-in has given the socket, that is not reached.
  CallAnswer connect_natively(const TrappedCall& call, const TrappedSocket& socket,
                              const SocketAddress& address);
  /// Where to send what an internet socket but TCP's is to send to an address of the program's, of
  /// `size` bytes; or the errno.
  struct Way {
    std::optional<SocketAddress> address;  ///< none: where the socket is connected to
    bool captured = false;                 ///< it stands for the destination
  };
  std::expected<Way, int> way_of(const TrappedSocket& socket, const sockaddr_storage& address,
                                 std::uint32_t size);
  /// The process of `thread` sends from this socket: what arrives from it is a captured program's.
  void note(pid_t thread, const TrappedSocket& socket);
  /// sendto(), sendmsg() and sendmmsg() of internet sockets but TCP's.
  CallAnswer send(const TrappedCall& call, TrappedSocket socket);
  /// recvfrom(), recvmsg() and recvmmsg() of any socket.
  CallAnswer receive(const TrappedCall& call);
  [[nodiscard]] bool receives() const { return !sockets_.empty(); }
  /// What a stand-in stands for; nothing: it is none.
  std::optional<Endpoint> meant_by(const Endpoint& address) {
    return stand_ins_->meant_by(address);
  }

 private:
  struct Sending {
    MessageParts parts;
    int flags = 0;
  };
  std::expected<SocketAddress, int> stand_in_of(const TrappedSocket& socket,
                                                const Endpoint& destination);
  bool is_at_stand_in(const TrappedSocket& socket);
  std::optional<SocketAddress> leave_stand_in(const TrappedSocket& socket);
  std::expected<std::size_t, int> send_one(const TrappedCall& call, const TrappedSocket& socket,
                                           const Sending& sending);
  CallOutcome send_many(const TrappedCall& call, const TrappedSocket& socket, std::uint64_t first);
  CallOutcome try_send(const TrappedCall& call, const TrappedSocket& socket, std::uint64_t first);
  Task<> send_later(TrappedCall first, TrappedSocket socket, std::uint64_t cookie,
                    RepeatedCalls::Done done);
  bool goes_on(const TrappedCall& call, std::uint64_t cookie);
  bool was_sent(const TrappedCall& call, const RepeatedCalls::Done& done);

  CallContext& context_;
  std::shared_ptr<StandIns> stand_ins_;
  Courses& courses_;
  TrappedReceives receives_;
  // By cookie: those that met a stand-in, and the address that they send from.
  LruMap<std::uint64_t, Endpoint> sockets_{limits::kDatagramSockets};
  OutgoingMessage outgoing_;
  std::uint64_t digest_ = 0;  // of the message that was sent last
};

}  // namespace shunt
