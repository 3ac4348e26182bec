// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/serve_udp.h"

#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include "base/counters.h"
#include "base/udp_limits.h"
#include "capture/plain_listeners.h"
#include "dns/message.h"
#include "net/socket.h"
#include "proxy/decide_flow.h"
#include "proxy/dns_service.h"
#include "proxy/live_flows.h"
#include "proxy/refusal.h"
#include "sniff/first_facts.h"
#include "sniff/quic.h"

namespace shunt {
namespace {

bool is_broadcast(const Address& address) {
  return address.is_v4() && address.v4().s_addr == INADDR_BROADCAST;
}

/// Datagrams that each have a PROXY header of their own come one by one: a train's may differ.
Result<UdpListener> make_listener(EventLoop& loop, UniqueFd fd,
                                  std::shared_ptr<const PlainListener> plain) {
  const auto bound = local_endpoint(fd.get());
  if (!bound) return Failure(bound.error());
  const Family family = bound->address.family();
  tune_udp_receive(fd.get(), family, plain == nullptr || plain->accept_proxy.empty());
  report_arrival_interface(fd.get());
  auto watched = WatchedFd::create(loop, std::move(fd), Slot::kReadable);
  if (!watched) return Failure(std::move(watched).error());
  return UdpListener{.fd = std::move(*watched), .family = family, .plain = std::move(plain)};
}

}  // namespace

struct UdpServer::Drained {
  UdpServer& server;
  bool await_ready() const { return server.running_ == 0; }
  void await_suspend(std::coroutine_handle<> handle) { server.when_drained_ = handle; }
  void await_resume() const {}
};

UdpServer::UdpServer(EventLoop& loop, UdpOptions options)
    : loop_(loop),
      options_(std::move(options)),
      table_(options_.most_sessions, options_.most_sessions_per_client),
      mappings_(options_.most_mappings, options_.most_mappings_per_client),
      replies_(loop, options_.reply_sockets, options_.fds, options_.most_reply_sockets) {}

UdpServer::~UdpServer() { stop(); }

Result<std::unique_ptr<UdpServer>> UdpServer::create(EventLoop& loop,
                                                     std::vector<UniqueFd> listeners,
                                                     UdpOptions options,
                                                     std::vector<PlainSocket> plain) {
  std::unique_ptr<UdpServer> server(new UdpServer(loop, std::move(options)));
  server->from_clients_ = SHUNT_TRY(ReceiveBatch::create());
  server->from_upstreams_ = SHUNT_TRY(ReceiveBatch::create());
  for (UniqueFd& fd : listeners) {
    server->listeners_.push_back(SHUNT_TRY(make_listener(loop, std::move(fd), nullptr)));
  }
  for (PlainSocket& socket : plain) {
    server->listeners_.push_back(
        SHUNT_TRY(make_listener(loop, std::move(socket.fd), std::move(socket.listener))));
  }
  return server;
}

Task<> UdpServer::run() {
  for (UdpListener& listener : listeners_) start(serve_listener(listener));
  co_await Drained{*this};
  stop();  // refused sessions have no coroutine that would have ended them
}

void UdpServer::start(Task<> task) {
  ++running_;
  spawn(gated(std::move(task)));
}

// The last one does not resume run() itself: the server may be gone when run() returns, and this
// frame still has to end.
Task<> UdpServer::gated(Task<> task) {
  co_await task;
  if (--running_ > 0 || !when_drained_) co_return;
  loop_.post([waiting = std::exchange(when_drained_, nullptr)] { waiting.resume(); });
}

void UdpServer::drain() {
  if (closing_) return;
  closing_ = true;
  for (UdpListener& listener : listeners_) {
    WatchedFd& fd = listener.fd;
    if (!fd.valid()) continue;
    loop_.cancel(fd.slot());
    if (!answers_itself(listener)) fd.reset();
  }
  const Tick patience = limits::kUdpDrainTimeoutMs / kTickMs;
  for (const Session& session : table_.shares().all()) {
    const bool asked = session->awaiting && loop_.now_tick() - session->asked_at < patience;
    const bool live =
        session->state == UdpSession::State::open || session->state == UdpSession::State::answering;
    if (live && asked) {
      renew(*session);
    } else if (session->state != UdpSession::State::dialling) {
      end(*session, EndReason::shutdown);
    }
  }
  for (const Mapping& mapping : mappings_.all()) {
    if (mapping->sessions.empty()) end(*mapping, EndReason::shutdown);
  }
}

void UdpServer::stop() {
  drain();
  while (const Session session = table_.any()) end(*session, EndReason::shutdown);
  for (const Mapping& mapping : mappings_.all()) end(*mapping, EndReason::shutdown);
  for (UdpListener& listener : listeners_) listener.fd.reset();
}

Task<> UdpServer::serve_listener(UdpListener& listener) {
  int batches = 0;
  while (!closing_) {
    const Wake wake = co_await loop_.readable(listener.fd.slot());
    if (wake != Wake::ready || closing_) co_return;
    const int count = from_clients_->receive(listener.fd.fd());
    if (count > 0) take_batch(listener, static_cast<std::size_t>(count));
    if (count < 0 || from_clients_->drained()) listener.fd.slot().clear(Slot::kReadable);
    if (++batches % limits::kUdpTurnBatches == 0) co_await loop_.yield();
  }
}

// The datagrams of one session are sent on together, in their order. A session that a later
// datagram of the batch displaces gets nothing more.
void UdpServer::take_batch(const UdpListener& listener, std::size_t count) {
  std::array<Session, limits::kUdpBatch> sessions;
  std::array<ReceiveBatch::Message, limits::kUdpBatch> messages;
  for (std::size_t i = 0; i < count; ++i) {
    Arrival arrival{.listener = listener, .index = i, .message = (*from_clients_)[i]};
    sessions[i] = session_of(arrival);
    messages[i] = arrival.message;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const Session session = std::move(sessions[i]);
    if (session == nullptr) continue;
    datagrams_.clear();
    split(messages[i], datagrams_);
    for (std::size_t j = i + 1; j < count; ++j) {
      if (sessions[j] != session) continue;
      split(messages[j], datagrams_);
      sessions[j].reset();
    }
    look(*session);
    if (session->guard != nullptr) guard(*session);
    forward(*session);
  }
}

/// A QUIC client's hello is for whoever decides, and for the log.
void UdpServer::look(UdpSession& session) {
  if (session.dns != nullptr) {
    for (const Datagram& datagram : datagrams_) session.dns->asked(datagram.payload);
  }
  if (session.hello == nullptr) return;
  for (const Datagram& datagram : datagrams_) session.hello->feed(datagram.payload);
  if (session.state == UdpSession::State::open) return log_hello(session);
  if (session.hello->state() != QuicHelloReader::State::need_more) wake_decision(loop_, session);
}

/// A connection that the rules decide otherwise than the session ends it.
void UdpServer::guard(UdpSession& session) {
  const QuicGuard::Decided decided{
      .policy = *session.policy, .facts = session.facts, .rule = session.flow.rule};
  for (const Datagram& datagram : datagrams_) {
    const auto objection = session.guard->see(datagram.payload, decided);
    if (!objection) continue;
    if (objection->rule != session.flow.rule) session.policy->hit(objection->rule);
    session.flow.rule = objection->rule;
    session.flow.host = host_of(objection->name);
    return refuse(session,
                  {.reason = ConnectReason::rejected_by_rule, .os_error = 0, .detail = {}});
  }
}

UdpServer::Session UdpServer::session_of(Arrival& arrival) {
  const auto destination = options_.original_destination(from_clients_->header(arrival.index));
  if (!destination) {
    count(Counter::udp_datagrams_dropped);
    return nullptr;
  }
  arrival.sender = from_clients_->source(arrival.index);
  arrival.received_at = *destination;
  arrival.flow = {.protocol = Protocol::udp,
                  .method = options_.method,
                  .source = arrival.sender,
                  .original_destination = *destination,
                  .started = {}};
  if (arrival.listener.plain != nullptr) return session_of_plain(arrival);
  if (options_.origins != nullptr) return session_of_origin(arrival);
  if (auto found = table_.find(arrival.sender, *destination, arrival.sender)) return found;
  return admissible(arrival.flow) ? admit(arrival) : nullptr;
}

/// A client that connects anew to the same place is answered from its newest address for it.
UdpServer::Session UdpServer::session_of_origin(Arrival& arrival) {
  auto origin = options_.origins->of_datagram(arrival.received_at);
  if (!origin) {
    count(Counter::direct_dials_refused);
    warnings_.warn("UDP from " + arrival.sender.text() +
                   " refused: shunt's own listener was sent to");
    return nullptr;
  }
  Flow& flow = arrival.flow;
  flow.original_destination = origin->destination;
  flow.received_at = arrival.received_at;
  flow.process = std::move(origin->process);
  if (auto found = table_.find(arrival.sender, flow.original_destination, arrival.sender)) {
    found->flow.received_at = arrival.received_at;
    return found;
  }
  return admissible(flow) ? admit(arrival) : nullptr;
}

// Refused without a word to the sender and without a session: whoever sends straight at the
// listener may have made up the address that an answer would go to.
bool UdpServer::admissible(const Flow& flow) {
  const auto refusal = own_flow_refusal(flow, options_.own_listeners, *options_.loop_guard);
  if (refusal && !refusal->detail.empty()) {
    const bool loop = refusal->reason == ConnectReason::loop;
    count(loop ? Counter::loops_refused : Counter::direct_dials_refused);
    warnings_.warn("UDP from " + flow.source.text() + " to " + flow.original_destination.text() +
                   " refused: " + refusal->detail);
    return false;
  }
  const Address& to = flow.original_destination.address;
  const bool sendable = !refusal && flow.source.port != 0 && !to.is_any() && !is_broadcast(to);
  if (!sendable) count(Counter::udp_datagrams_dropped);
  return sendable;
}

UdpServer::Session UdpServer::admit(Arrival& arrival) {
  Flow& flow = arrival.flow;
  const Address client = flow.source.address;
  if (dials_full(client) || !make_room(client)) {
    count(Counter::udp_datagrams_dropped);
    return nullptr;
  }
  flow.id = options_.next_flow_id();
  flow.started = Clock::now();
  auto session = std::make_shared<UdpSession>(*this, &UdpServer::idle);
  session->flow = std::move(flow);
  session->sender = arrival.sender;
  if (answers_itself(arrival.listener)) session->listener = &arrival.listener;
  datagrams_.clear();
  split(arrival.message, datagrams_);
  learn(*session, datagrams_.empty() ? "" : datagrams_.front().payload);
  // Always: rules that come while the session awaits its decision may ask for it.
  session->facts.interface =
      arrival_interface(arrival.listener.fd.fd(), from_clients_->header(arrival.index));
  table_.insert(session);
  session->started = true;
  if (options_.log != nullptr) options_.log->flow_start(session->flow);
  start(serve(session));
  return session;
}

bool UdpServer::dials_full(const Address& client) const {
  const bool full = dialling_ >= limits::kUdpDials ||
                    table_.shares().dials_of(client) >= limits::kUdpDialsPerClient;
  if (full) count(Counter::udp_dials_full);
  return full;
}

/// What its first datagram tells of a session.
void UdpServer::learn(UdpSession& session, std::string_view first) {
  session.hairpin = options_.loop_guard->is_own_datagram(session.flow.original_destination);
  session.policy = options_.policy->get();
  const Ruleset& rules = session.policy->rules();
  session.facts = plain_facts(session.flow);
  learn_first_datagram(first, session.facts);
  session.quic = is_quic_initial(first);
  if (session.quic && (options_.observe_content || rules.uses(TermKey::host))) {
    session.hello = std::make_unique<QuicHelloReader>();
  }
  if (options_.names.memory == nullptr || !rules.uses(TermKey::host)) return;
  if (session.flow.original_destination.port == dns::kPort) {
    session.dns = std::make_unique<DnsWatch>(*options_.names.memory, session.flow);
  }
  // Should a rule ask for a name, there may be one in memory.
  if (session.facts.name.state == FactState::never) session.facts.name.state = FactState::unknown;
}

void UdpServer::end_changed(const Policy& policy) {
  for (const Session& session : table_.shares().all()) {
    if (!session->decided) {
      session->policy = options_.policy->get();
    } else if (verdict_changes(*session->policy, session->flow.rule, session->facts, policy)) {
      end(*session, EndReason::rules_changed);
    }
  }
}

/// Gives up a session where there is no room for one more.
bool UdpServer::make_room(const Address& client) {
  using Crowded = UdpTable::Crowded;
  const Crowded crowded = table_.shares().crowded(client);
  if (crowded == Crowded::no) return true;
  const Session victim = table_.shares().victim(client, crowded);
  if (victim == nullptr) return false;
  count(crowded == Crowded::client ? Counter::udp_client_over_cap : Counter::udp_sessions_evicted);
  end(*victim, EndReason::evicted);
  return true;
}

void UdpServer::forward(UdpSession& session) {
  if (session.unsolicited) solicited(session);
  switch (session.state) {
    case UdpSession::State::dialling: return queue(session, false);
    case UdpSession::State::open: return send_up(session);
    case UdpSession::State::answering: return ask(session);
    case UdpSession::State::refused:
      if (session.refusal) report(session, *session.refusal);
      if (session.permanent && !outdated(session)) renew(session);
      [[fallthrough]];
    case UdpSession::State::ended: count(Counter::udp_datagrams_dropped, datagrams_.size());
  }
}

/// What refused it for good might decide otherwise by now.
bool UdpServer::outdated(const UdpSession& session) const {
  if (session.policy != options_.policy->get()) return true;
  return session.policy->rules().uses_time() &&
         session.facts.minute_of_week != minute_of_week(std::time(nullptr));
}

void UdpServer::queue(UdpSession& session, bool to_client) {
  std::size_t& of_client = session.share.client->queued_bytes;
  for (const Datagram& datagram : datagrams_) {
    const std::size_t bytes = datagram.payload.size();
    if (session.queued.size() >= limits::kUdpQueuedDatagrams ||
        queued_bytes_ + bytes > limits::kUdpQueuedBytes ||
        of_client + bytes > limits::kUdpQueuedBytesPerClient) {
      count(Counter::udp_queue_full);
      count(Counter::udp_datagrams_dropped);
      continue;
    }
    queued_bytes_ += bytes;
    of_client += bytes;
    session.queued.push_back({std::string(datagram.payload), datagram.tos, to_client});
  }
}

/// What has waited. While the session is in the table.
std::vector<UdpSession::Queued> UdpServer::take_queued(UdpSession& session) {
  auto queued = std::exchange(session.queued, {});
  for (const auto& datagram : queued) {
    queued_bytes_ -= datagram.payload.size();
    session.share.client->queued_bytes -= datagram.payload.size();
  }
  return queued;
}

void UdpServer::send_up(UdpSession& session) {
  const Mapping mapping = session.mapping;  // an error may end the session
  UdpMapping& by = *mapping;
  const bool fragments = !session.quic;
  if (by.fragments != fragments) {
    set_fragmentation(by.upstream.socket.fd(), by.socket_family, by.fragments = fragments);
  }
  const SocketAddress peer(session.flow.original_destination, by.socket_family);
  SendTarget target{.fd = by.upstream.socket.fd(),
                    .family = by.socket_family,
                    .to = by.unconnected() ? &peer : nullptr,
                    .header = by.shared ? session.header : by.upstream.header,
                    .trains = &by.trains};
  const SendOutcome outcome = sender_.send(target, datagrams_);
  session.datagrams_up += outcome.datagrams;
  session.bytes_up += outcome.bytes;
  session.awaiting = true;
  session.asked_at = by.sent_at = loop_.now_tick();
  Mappings::touch(by);
  const std::size_t lost = datagrams_.size() - outcome.datagrams;
  if (lost > 0) count(Counter::udp_datagrams_dropped, lost);
  if (outcome.error != 0) send_failed(session, by, outcome.error, lost > 0);
  if (session.state == UdpSession::State::open) renew(session);
}

// An unconnected socket tells of an error that some other peer's datagram met; what this one met
// is known by its loss. Where it was too long, the queue of errors has the MTU.
void UdpServer::send_failed(UdpSession& session, UdpMapping& by, int error, bool lost) {
  if (!by.unconnected()) return upstream_failed(session, error);
  const std::uint32_t mtu = take_errors(by);
  const bool open = session.state == UdpSession::State::open;
  if (open && lost) upstream_failed(session, error, mtu);
}

}  // namespace shunt
