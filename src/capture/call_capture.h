// SPDX-License-Identifier: GPL-2.0-only
// Capture by the program's own system calls, which a listener (kernel/call_trap.h) or a tracer
// (kernel/call_tracer.h) hands over: for `shunt run` where there is no privilege and no user
// namespace. The program stays in the host's network, on sockets of its own.
//
//   connect()                      TCP: a held flow (capture/trapped_connects.h)
//                                  UDP: to a stand-in    (capture/trapped_datagrams.h)
//   sendto(), sendmsg(), …         UDP: a copy is sent to a stand-in
//   recvfrom(), recvmsg(), …       of such sockets: the source is shown as the destination
//   getpeername(), SO_ERROR        what the program would see without shunt
//
// What goes to this machine itself is not captured, but done by us all the same, with the address
// that we looked at. Calls on sockets of other families run as they are: which family a socket has
// is asked of the socket, not of the program. It is no prison: a program that swaps descriptors
// under a call of its own can get past it.
//
// When this process dies all of these calls fail with ENOSYS. 32-bit programs, io_uring and MPTCP:
// kernel/call_trap.h.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/result.h"
#include "capture/call_handlers.h"
#include "capture/flow_source.h"
#include "capture/parking.h"
#include "capture/plain_listeners.h"
#include "capture/trapped_socket.h"
#include "kernel/call_source.h"

namespace shunt {

class CallCapture final : public FlowSource {
 public:
  /// Makes the sockets that it needs, in the network namespace of the calling thread. `method` is
  /// seccomp or ptrace.
  static Result<std::shared_ptr<CallCapture>> create(CaptureMethod method,
                                                     CallCaptureOptions options);

  /// The command's end of a channel, for the functions below. Stays this object's.
  [[nodiscard]] int door() const { return door_.get(); }
  /// The listener of datagrams that are sent to stand-ins; to be moved out.
  PlainSocket& datagram_listener() { return datagram_listener_; }
  /// For ProxyOptions::own_listeners.
  [[nodiscard]] std::vector<Endpoint> own_listeners() const { return own_listeners_; }
  [[nodiscard]] TrappedProcesses& owners() { return owners_; }
  /// Whether any process is left whose calls are trapped; false before the first one has entered.
  /// Any thread. Where they are traced it waits for up to limits::kTracerLagMs to be sure that
  /// somebody is.
  [[nodiscard]] bool has_members() const;

  Task<> run(SourceWorker worker) override;
  void close() override;

 private:
  struct Parts;
  explicit CallCapture(Parts parts);
  Task<> await_command();
  Result<void> take_over();
  Task<> serve_calls();
  void handle(const TrappedCall& call);
  CallAnswer answer(const TrappedCall& call);
  CallAnswer connect(const TrappedCall& call);
  CallAnswer send(const TrappedCall& call);
  CallAnswer peer_name(const TrappedCall& call);
  CallAnswer socket_error(const TrappedCall& call);

  TrappedProcesses owners_;
  std::unique_ptr<CallSource> source_;
  CallSource& trap_;  // the same
  CallContext context_;
  std::vector<Endpoint> own_listeners_;
  CallHandlers handlers_;
  PlainSocket datagram_listener_;
  UniqueFd door_;
  UniqueFd channel_;                // the other end of the door
  std::atomic<int> listener_ = -1;  // of trap_, for has_members()
  Slot* slot_ = nullptr;            // that run() waits on
};

/// Traps the calls of this process, which has one thread, hands them to the CallCapture at the
/// other end of `door`, and returns when that has them. Until it executes a program this process
/// may make none of the calls that are trapped.
Result<void> enter_call_capture(int door);

/// The same, by a tracer of this process.
Result<void> enter_traced_capture(int door);

}  // namespace shunt
