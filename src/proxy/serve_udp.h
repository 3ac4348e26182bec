// SPDX-License-Identifier: GPL-2.0-only
// The story of UDP on one worker. Each datagram that a listener receives names its client and, by a
// control message, its original destination; the pair is a session with an upstream socket of its
// own. What comes back is sent to the client from the original destination (proxy/udp_replies.h).
//
// A session is one coroutine that waits on its upstream; the client's datagrams are forwarded by
// the listener's coroutine, a batch at a time. Nothing is answered that was sent straight at the
// listener, nothing from our own upstream sockets is taken, and every table and queue is bounded
// (proxy/udp_table.h, limits.h). A session is decided by its first datagram, or by as many as the
// hello of QUIC takes (proxy/decide_udp.h). A way out that cannot carry UDP and a rule that rejects
// refuse the session: the client gets an ICMP error, so that a browser turns from QUIC to TCP at
// once. What a rule drops is a session without a socket.
//
// At a plain listener (serve_udp_plain.cc) a session also has its sender, who may be a proxy that
// puts a PROXY header before each datagram; answers go back to it from where it sent to, plain.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "capture/capture.h"
#include "flow/process_finder.h"
#include "flow/record.h"
#include "net/event_loop.h"
#include "net/task.h"
#include "net/udp_socket.h"
#include "net/watched_fd.h"
#include "proxy/decide_udp.h"
#include "proxy/fd_budget.h"
#include "proxy/loop_guard.h"
#include "proxy/policy.h"
#include "proxy/udp_replies.h"
#include "proxy/udp_table.h"

namespace shunt {

class DnsService;

struct UdpOptions {
  const CurrentPolicy* policy = nullptr;  ///< needed; outlives the server
  NameEvidence names;                     ///< for rules
  ProcessFinder* processes = nullptr;     ///< for rules; outlives the server; may be null
  std::uint32_t sniff_wait_ms = limits::kSniffWaitMs;
  bool observe_content = true;  ///< read the hellos of QUIC for the log
  Origins* origins = nullptr;   ///< outlives the server; null: original_destination() says it
  std::shared_ptr<ReplySockets> reply_sockets;
  std::vector<Endpoint> own_listeners;    ///< datagrams to these go nowhere
  const LoopGuard* loop_guard = nullptr;  ///< needed; outlives the server
  FdBudget* fds = nullptr;                ///< outlives the server; may be null
  FlowLog* log = nullptr;                 ///< outlives the server; may be null
  DnsService* dns = nullptr;              ///< outlives the server; null: queries are flows
  CaptureMethod method = CaptureMethod::tproxy;
  std::function<std::uint64_t()> next_flow_id;  ///< needed
  std::optional<Endpoint> (*original_destination)(const msghdr&) = datagram_destination;

  std::size_t most_sessions = limits::kUdpSessions;
  std::size_t most_sessions_per_client = limits::kUdpSessionsPerClient;
  std::size_t most_reply_sockets = limits::kUdpReplySockets;
  std::uint32_t answered_query_timeout_ms = limits::kUdpDnsTimeoutMs;
  std::uint32_t unreplied_timeout_ms = limits::kUdpUnrepliedTimeoutMs;
  std::uint32_t replied_timeout_ms = limits::kUdpRepliedTimeoutMs;
  std::uint32_t refused_timeout_ms = limits::kUdpRefusedTimeoutMs;
};

class UdpServer {
 public:
  /// Takes a worker's ListenerSet::udp and plain_udp.
  static Result<std::unique_ptr<UdpServer>> create(EventLoop& loop, std::vector<UniqueFd> listeners,
                                                   UdpOptions options,
                                                   std::vector<PlainSocket> plain = {});
  /// Only after run() returned, or when it was never called.
  ~UdpServer();
  UdpServer(const UdpServer&) = delete;
  UdpServer& operator=(const UdpServer&) = delete;

  /// Serves until drain() or stop(), or until the loop is cancelled; returns when the last
  /// coroutine has ended. Dials under way end by their own deadlines, or by
  /// EventLoop::cancel_all().
  Task<> run();
  /// Closes the listeners and ends what awaits no answer; the rest ends by itself within
  /// limits::kUdpDrainTimeoutMs. On the loop's thread, as stop().
  void drain();
  /// Closes the listeners and ends every session.
  void stop();
  /// Ends the sessions that `policy` decides otherwise.
  void end_changed(const Policy& policy);
  [[nodiscard]] std::size_t live_sessions() const { return table_.size(); }
  [[nodiscard]] std::size_t bound_reply_sockets() const { return replies_.bound_sockets(); }

 private:
  struct Drained;
  using Session = std::shared_ptr<UdpSession>;

  UdpServer(EventLoop& loop, UdpOptions options);

  // The gate: everything that runs is counted here and awaited by run().
  void start(Task<> task);
  Task<> gated(Task<> task);

  // From clients.
  /// A message of a batch, and what it says of its session.
  struct Arrival {
    const UdpListener& listener;
    std::size_t index;              ///< in the batch
    ReceiveBatch::Message message;  ///< without a PROXY header
    Endpoint sender{};
    Endpoint received_at{};
    Flow flow{};
  };
  Task<> serve_listener(UdpListener& listener);
  void take_batch(const UdpListener& listener, std::size_t count);
  Session session_of(Arrival& arrival);
  Session session_of_plain(Arrival& arrival);
  Session session_of_origin(Arrival& arrival);
  /// Whether answers leave by the listener, from the address that the client sent to.
  [[nodiscard]] bool answers_itself(const UdpListener& listener) const {
    return listener.plain != nullptr || options_.origins != nullptr;
  }
  bool admissible(const Flow& flow);
  Session admit(Arrival& arrival);
  void learn(UdpSession& session, const Arrival& arrival);
  bool make_room(const Address& client);
  /// These work on datagrams_.
  void look(UdpSession& session);
  void guard(UdpSession& session);
  void forward(UdpSession& session);
  [[nodiscard]] bool outdated(const UdpSession& session) const;
  void queue(UdpSession& session);
  void send_up(UdpSession& session);
  void ask(UdpSession& session);
  void answer_queued(UdpSession& session);
  Task<> answer(Session session, std::string query);
  void send_answer(UdpSession& session, std::string_view answer);

  // From upstreams.
  Task<> serve(Session session);
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(UdpSession& session);
  bool opened(UdpSession& session, UdpUpstream upstream);
  Task<> serve_replies(UdpSession& session);
  /// The replies, and the control connections from that one on.
  Task<> serve_from(UdpSession& session, std::size_t control);
  Task<> serve_control(UdpSession& session, std::size_t index);
  void take_replies(UdpSession& session, std::size_t count);
  SendOutcome reply(UdpSession& session);
  void upstream_failed(UdpSession& session, int error);

  enum class Tell : std::uint8_t { client, nobody };
  void refuse(UdpSession& session, const ConnectFailure& failure, Tell tell = Tell::client);
  void report(const UdpSession& session, Undeliverable what, std::uint32_t mtu = 0);
  void log_hello(UdpSession& session) const;
  void log_end(const UdpSession& session, EndReason reason, const ConnectFailure* failure);
  void end(UdpSession& session, EndReason reason);
  void release(UdpSession& session);
  void renew(UdpSession& session);
  [[nodiscard]] std::uint32_t timeout_of(const UdpSession& session) const;
  static void idle(Timer& timer);

  EventLoop& loop_;
  UdpOptions options_;
  std::vector<UdpListener> listeners_;
  UdpTable table_;
  UdpReplies replies_;
  std::unique_ptr<ReceiveBatch> from_clients_;
  std::unique_ptr<ReceiveBatch> from_upstreams_;
  DatagramSender sender_;
  std::vector<Datagram> datagrams_;  // of the session that is being served, within one call
  std::size_t queued_bytes_ = 0;
  std::size_t dialling_ = 0;
  std::size_t running_ = 0;
  bool closing_ = false;
  std::coroutine_handle<> when_drained_;
  RateLimitedLog warnings_;
};

}  // namespace shunt
