// SPDX-License-Identifier: GPL-2.0-only
// The story of UDP on one worker. Each datagram that a listener receives names its client and, by a
// control message, its original destination; the pair is a session. It is decided by its first
// datagram, or by as many as the hello of QUIC takes (proxy/decide_udp.h), and then sent on through
// a mapping (proxy/udp_mapping.h): one upstream socket for all that the client socket sends by that
// way out (RFC 4787), or one of its own where UdpNat says so, and for queries (DNS, NTP), whose
// answers nobody else shall be able to give. What comes back is sent to the client from the
// original destination (proxy/udp_replies.h). What comes from a peer that the client has not sent
// to is a session too, where the filtering and the rules let it in (serve_udp_mapping.cc).
//
// A mapping is one coroutine that waits on its socket; the client's datagrams are forwarded by the
// listener's coroutine, a batch at a time. Nothing is answered that was sent straight at the
// listener, nothing from our own upstream sockets is taken, and every table and queue is bounded
// (proxy/udp_table.h, limits.h). A way out that cannot carry UDP and a rule that rejects refuse the
// session: the client gets an ICMP error, so that a browser turns from QUIC to TCP at once. What a
// rule drops is a session without a mapping.
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
#include <unordered_map>
#include <vector>

#include "base/limits.h"
#include "base/udp_limits.h"
#include "capture/capture.h"
#include "flow/process_finder.h"
#include "flow/record.h"
#include "flow/udp_nat.h"
#include "net/event_loop.h"
#include "net/task.h"
#include "net/udp_socket.h"
#include "net/watched_fd.h"
#include "proxy/decide_udp.h"
#include "proxy/fd_budget.h"
#include "proxy/loop_guard.h"
#include "proxy/policy.h"
#include "proxy/udp_mapping.h"
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

  UdpNat nat;
  std::size_t most_sessions = limits::kUdpSessions;
  std::size_t most_sessions_per_client = limits::kUdpSessionsPerClient;
  std::size_t most_mappings = limits::kUdpMappings;
  std::size_t most_mappings_per_client = limits::kUdpMappingsPerClient;
  std::size_t most_reply_sockets = limits::kUdpReplySockets;
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
  [[nodiscard]] std::size_t live_mappings() const { return mappings_.size(); }
  [[nodiscard]] std::size_t bound_reply_sockets() const { return replies_.bound_sockets(); }

 private:
  struct Drained;
  using Session = std::shared_ptr<UdpSession>;
  using Mapping = std::shared_ptr<UdpMapping>;
  using Mappings = FairShares<UdpMapping>;

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
  Session session_of_stand_in(Arrival& arrival);
  Session session_of_origin(Arrival& arrival);
  /// Whether answers leave by the listener, from the address that the client sent to.
  [[nodiscard]] bool answers_itself(const UdpListener& listener) const {
    return listener.plain != nullptr || options_.origins != nullptr;
  }
  bool admissible(const Flow& flow);
  Session admit(Arrival& arrival);
  bool dials_full(const Address& client) const;
  void learn(UdpSession& session, std::string_view first_datagram);
  bool make_room(const Address& client);
  /// These work on datagrams_.
  void look(UdpSession& session);
  void guard(UdpSession& session);
  void forward(UdpSession& session);
  [[nodiscard]] bool outdated(const UdpSession& session) const;
  void queue(UdpSession& session, bool to_client);
  std::vector<UdpSession::Queued> take_queued(UdpSession& session);
  void send_up(UdpSession& session);
  void send_failed(UdpSession& session, UdpMapping& by, int error, bool lost);
  void ask(UdpSession& session);
  void answer_queued(UdpSession& session);
  Task<> answer(Session session, std::string query);
  void send_answer(UdpSession& session, std::string_view answer);

  // The life of a session.
  struct Route {
    const WayOut* way_out = nullptr;
    Hints hints;
  };
  /// One question, one answer: nothing more is to come soon.
  [[nodiscard]] static bool is_query(const Flow& flow);
  Task<> serve(Session session);
  Task<> serve_unsolicited(Session session, Mapping mapping);
  /// find_route(), within limits::kUdpDials and kUdpDialsPerClient.
  Task<std::expected<Route, ConnectFailure>> decide(UdpSession& session);
  Task<std::expected<Route, ConnectFailure>> find_route(UdpSession& session);
  void opened(UdpSession& session);
  void send_queued(UdpSession& session);
  void deliver(UdpSession& session);
  SendOutcome reply(UdpSession& session);
  void upstream_failed(UdpSession& session, int error, std::uint32_t mtu = 0);

  // Mappings.
  void map(const Session& session, Route route);
  [[nodiscard]] bool shares_mapping(const UdpSession& session, const Route& route) const;
  [[nodiscard]] UdpMapping::Key key_of(const UdpSession& session, const WayOut* way_out) const;
  Mapping find_mapping(const UdpMapping::Key& key);
  Mapping make_mapping(UdpSession& session, const UdpMapping::Key& key, bool shared);
  bool make_room_for_mapping(const Address& client);
  void attach(UdpSession& session, const Mapping& mapping);
  void detach(UdpSession& session);
  void solicited(UdpSession& session);
  void expire(UdpMapping& mapping);
  Task<> serve_mapping(Mapping mapping, Session first, Hints hints);
  Task<std::expected<UdpUpstream, ConnectFailure>> dial(UdpMapping& mapping, UdpSession& session,
                                                        const Hints& hints);
  bool mapped(UdpMapping& mapping, UdpUpstream upstream, bool query);
  void refuse_all(UdpMapping& mapping, const ConnectFailure& failure);
  void end(UdpMapping& mapping, EndReason reason);
  void forget(UdpMapping& mapping);
  static void over(Timer& timer);

  // From upstreams.
  Task<> serve_replies(UdpMapping& mapping);
  /// The replies, and the control connections from that one on.
  Task<> serve_from(UdpMapping& mapping, std::size_t control);
  Task<> serve_control(UdpMapping& mapping, std::size_t index);
  void take_replies(UdpMapping& mapping, std::size_t count);
  void take_from_peers(UdpMapping& mapping, std::size_t count);
  void sort_by_session(UdpMapping& mapping, std::size_t count);
  void receive_failed(UdpMapping& mapping, int error);
  std::uint32_t take_errors(UdpMapping& mapping);
  Session session_of_peer(UdpMapping& mapping, const Endpoint& peer);
  [[nodiscard]] bool lets_in(const UdpMapping& mapping, const Endpoint& peer) const;
  Session admit_unsolicited(UdpMapping& mapping, const Endpoint& peer);

  enum class Tell : std::uint8_t { client, nobody };
  void refuse(UdpSession& session, const ConnectFailure& failure, Tell tell = Tell::client);
  void refuse_as_decided(UdpSession& session, const ConnectFailure& failure);
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
  Mappings mappings_;
  std::unordered_map<UdpMapping::Key, UdpMapping*, UdpMapping::KeyHash> shared_mappings_;
  UdpReplies replies_;
  std::unique_ptr<ReceiveBatch> from_clients_;
  std::unique_ptr<ReceiveBatch> from_upstreams_;
  DatagramSender sender_;
  std::vector<Datagram> datagrams_;  // of the session that is being served, within one call
  std::vector<Datagram> message_;
  struct FromPeer {
    Session session;
    Datagram datagram;
  };
  std::vector<FromPeer> from_peers_;  // a batch from a shared mapping, within one call
  std::size_t queued_bytes_ = 0;
  std::size_t dialling_ = 0;
  std::size_t running_ = 0;
  bool closing_ = false;
  std::coroutine_handle<> when_drained_;
  RateLimitedLog warnings_;
};

}  // namespace shunt
