// SPDX-License-Identifier: GPL-2.0-only
// Receives of UDP sockets that have met a stand-in (capture/trapped_datagrams.h): what came from a
// stand-in is shown as coming from its destination. A call that has to wait for a datagram waits
// here, until there is one, the program's SO_RCVTIMEO is over, the socket is shut down, or nobody
// wants it any more (capture/repeated_calls.h).
//
// What a call got whose thread was called away is kept for the same call, for as long as it is
// still in the program's memory, as far as its ends tell (digest_of()): the thread may have used
// its buffer for something else by then.
//
// Not to be had: several messages from recvmmsg() that waits for all of them: it returns with those
// that are there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "capture/stand_ins.h"
#include "capture/trapped_message.h"
#include "capture/trapped_socket.h"
#include "net/task.h"

namespace shunt {

/// On the worker's thread.
class TrappedReceives {
 public:
  TrappedReceives(CallContext& context, std::shared_ptr<StandIns> stand_ins)
      : context_(context), stand_ins_(std::move(stand_ins)) {}

  /// recvfrom(), recvmsg() or recvmmsg() of a UDP socket, known as `cookie`.
  CallAnswer receive(const TrappedCall& call, TrappedSocket socket, std::uint64_t cookie);

 private:
  Task<> receive_later(TrappedCall first, TrappedSocket socket, std::uint64_t cookie);
  Slot* watch(const TrappedSocket& socket);
  CallOutcome look(const TrappedCall& call, const TrappedSocket& socket, std::uint64_t cookie);
  CallOutcome receive_or_end(const TrappedCall& call, const TrappedSocket& socket);
  CallOutcome try_receive(const TrappedCall& call, const TrappedSocket& socket);
  CallOutcome receive_one(const TrappedCall& call, const TrappedSocket& socket);
  CallOutcome receive_message(const TrappedCall& call, const TrappedSocket& socket,
                              std::uint64_t header, int flags);
  CallOutcome receive_many(const TrappedCall& call, const TrappedSocket& socket);
  CallOutcome end_of_input(const TrappedCall& call, const TrappedSocket& socket);
  void note(const std::optional<Endpoint>& source, std::size_t received);
  bool is_there(const TrappedCall& call, const RepeatedCalls::Done& done);
  bool note_again(pid_t thread, const MessageParts& parts, std::size_t received);
  std::optional<Endpoint> shown_source(const IncomingMessage& message);

  CallContext& context_;
  std::shared_ptr<StandIns> stand_ins_;
  std::size_t watched_ = 0;  // sockets, of calls that wait
  IncomingMessage incoming_;
  std::uint64_t digest_ = 0;  // of what the last call left in its program's memory
};

}  // namespace shunt
