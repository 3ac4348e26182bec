// SPDX-License-Identifier: GPL-2.0-only
// Capture by a library in the program, libshunt-preload.so (preload/): for `shunt run` where the
// kernel lets nobody answer system calls. What the library is asked to do it hands over, by a Unix
// socket and with a copy of the program's socket (preload.abi.h); what comes of it is what comes of
// a trapped call (capture/call_handlers.h).
//
//   connect()                    held flows, and UDP to stand-ins, done by us on the copy
//   sendto(), sendmsg(), …       the library asks where to, and sends itself
//   recvfrom(), recvmsg(), …     the library asks what a stand-in means
//   getpeername(), SO_ERROR      the library asks where the kernel's word is not the whole truth
//   getaddrinfo(), …             the resolver is led to stand-ins of its name servers
//
// Requests are taken from whoever has the token, which is in the environment of captured programs
// alone. When this process dies the library fails all of these calls with ECONNREFUSED.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/call_handlers.h"
#include "capture/flow_source.h"
#include "capture/plain_listeners.h"
#include "capture/preload_calls.h"
#include "capture/preload_request.h"
#include "capture/resolver_sockets.h"
#include "net/fd_passing.h"

namespace shunt {

class PreloadCapture final : public FlowSource {
 public:
  /// Makes the sockets that it needs, in the network namespace of the calling thread.
  static Result<std::shared_ptr<PreloadCapture>> create(CallCaptureOptions options);

  /// The value of SHUNT_PRELOAD_VARIABLE for captured programs.
  [[nodiscard]] const std::string& variable() const { return variable_; }
  /// The listener of datagrams that are sent to stand-ins; to be moved out.
  PlainSocket& datagram_listener() { return datagram_listener_; }
  /// For ProxyOptions::own_listeners.
  [[nodiscard]] std::vector<Endpoint> own_listeners() const { return own_listeners_; }
  [[nodiscard]] TrappedProcesses& owners() { return owners_; }
  /// Whether any process is left that has the library. Any thread; takes milliseconds.
  [[nodiscard]] bool has_members() const;
  /// Whether the process has said that it has the library. Any thread.
  [[nodiscard]] bool has_loaded(pid_t process) const;

  Task<> run(SourceWorker worker) override;
  void close() override;

 private:
  struct Sockets {
    UniqueFd requests;   ///< listens at the abstract name
    UniqueFd datagrams;  ///< for stand-ins, at their port
    UniqueFd streams;    ///< the same for TCP, which resolvers take for long answers
    std::string name;
  };
  class Vouching;

  static Result<Sockets> open(StandIns& stand_ins);
  PreloadCapture(CallCaptureOptions options, Parking parking, std::shared_ptr<StandIns> stand_ins,
                 ResolverSockets resolvers);

  Task<> accept(int listener, void (PreloadCapture::*begin)(UniqueFd));
  void begin_request(UniqueFd connection);
  Task<> serve(UniqueFd connection);
  void begin_stream(UniqueFd client);
  void handle(UniqueFd connection, Record record);
  void note_member(pid_t process);
  void connect(UniqueFd connection, const PreloadRequest& request, TrappedSocket socket,
               pid_t process);
  shunt_preload_answer answer(const PreloadRequest& request, std::vector<UniqueFd> fds,
                              pid_t process);
  shunt_preload_answer destination(const PreloadRequest& request, const TrappedSocket& socket,
                                   pid_t process);
  shunt_preload_answer meant(const PreloadRequest& request);
  shunt_preload_answer peer(const TrappedSocket& socket);
  shunt_preload_answer failure(const TrappedSocket& socket, pid_t process);
  shunt_preload_answer lookup(const PreloadRequest& request, pid_t process);

  TrappedProcesses owners_;
  PreloadCalls calls_;
  CallContext context_{.method = CaptureMethod::preload, .calls = calls_, .owners = owners_};
  std::vector<Endpoint> own_listeners_;
  std::shared_ptr<StandIns> stand_ins_;
  ResolverSockets resolvers_;
  CallHandlers handlers_;
  Sockets sockets_;
  PlainSocket datagram_listener_;
  PreloadToken token_{};
  std::string variable_;
  std::vector<Slot*> waiting_;  // for requests and for streams
  mutable std::mutex mutex_;
  mutable std::map<pid_t, UniqueFd> members_;  // with mutex_: pidfds of those that asked
};

}  // namespace shunt
