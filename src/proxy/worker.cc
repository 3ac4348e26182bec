// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/worker.h"

#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/counters.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/thread_signals.h"
#include "capture/plain_listeners.h"
#include "net/frame_pool.h"
#include "net/socket.h"

namespace shunt {
namespace {

RateLimitedLog accept_trouble;

bool out_of_resources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

Result<std::unique_ptr<Worker>> Worker::create(WorkerShared& shared, ListenerSet listeners,
                                               unsigned index) {
  std::unique_ptr<Worker> worker(new Worker(shared, index));
  worker->loop_ = SHUNT_TRY(EventLoop::create());
  worker->relay_ = std::make_unique<RelayResources>(*worker->loop_, shared.budget,
                                                    shared.options.idle_timeout_ms);
  if (shared.options.dns != nullptr) {
    const auto start = [raw = worker.get()](Task<> task) {
      raw->started_task();
      spawn(raw->counted(std::move(task)));
    };
    const DnsSurroundings around{.start = start,
                                 .own_listeners = shared.options.own_listeners,
                                 .memory = shared.names.memory};
    worker->dns_ = std::make_unique<DnsService>(*worker->loop_, *shared.options.dns, shared.policy,
                                                shared.log, around);
  }
  worker->dropped_ = std::make_unique<DroppedClients>(*worker->loop_, shared.budget);
  worker->flows_ = std::make_unique<FlowSet>(worker->serve_context(), shared.budget);
  worker->flows_->on_end = [raw = worker.get()] {
    if (raw->idle()) raw->shared_.idle_changed();
  };
  if (listeners.hold) worker->hold(*std::move(listeners.hold));
  worker->source_ = std::move(listeners.source);
  if (worker->source_ != nullptr) ++worker->tasks_;
  for (const UniqueFd& fd : listeners.tcp) tune_relayed_tcp(fd.get());  // accepted ones inherit it
  for (const PlainSocket& plain : listeners.plain_tcp) tune_relayed_tcp(plain.fd.get());
  worker->listeners_ = std::move(listeners.tcp);
  worker->plain_listeners_ = std::move(listeners.plain_tcp);
  worker->tasks_ += static_cast<int>(worker->listeners_.size() + worker->plain_listeners_.size());
  if (shared.options.reply_sockets == nullptr) listeners.udp.clear();
  if (!listeners.udp.empty() || !listeners.plain_udp.empty()) {
    worker->udp_ =
        SHUNT_TRY(UdpServer::create(*worker->loop_, std::move(listeners.udp), worker->udp_options(),
                                    std::move(listeners.plain_udp)));
    ++worker->tasks_;
  }
  return worker;
}

void Worker::hold(Hold hold) {
  HeldConnections::Callbacks callbacks{
      .take_room = [this] { return shared_.budget.take(limits::kFdsPerFlow); },
      .start =
          [this](Captured captured) {
            captured.flow.id = ++next_flow_id_;
            flows_->start(std::move(captured));
          },
      .accept = [this](Family family) { return accept_captured(family); }};
  held_ = std::make_unique<HeldConnections>(*loop_, std::move(hold), std::move(callbacks));
  ++tasks_;
}

SourceWorker Worker::source_worker() {
  return {.loop = loop_.get(),
          .take_room = [this] { return shared_.budget.take(limits::kFdsPerFlow); },
          .start =
              [this](Captured captured) {
                captured.flow.id = ++next_flow_id_;
                flows_->start(std::move(captured));
              },
          .run =
              [this](Task<> task) {
                started_task();
                spawn(counted(std::move(task)));
              }};
}

ServeContext Worker::serve_context() {
  return {.relay = *relay_,
          .decide = {.relay = *relay_,
                     .policy = shared_.policy,
                     .names = shared_.names,
                     .processes = shared_.options.processes,
                     .server_first_ports = shared_.options.server_first_ports,
                     .sniff_wait_ms = shared_.options.sniff_wait_ms,
                     .dns = dns_.get()},
          .dropped = *dropped_,
          .live = live_,
          .loop_guard = shared_.loop_guard,
          .own_listeners = shared_.options.own_listeners,
          .log = shared_.log,
          .observe_content = shared_.options.observe_content};
}

UdpOptions Worker::udp_options() {
  UdpOptions udp;
  udp.policy = &shared_.policy;
  udp.names = shared_.names;
  udp.processes = shared_.options.processes;
  udp.sniff_wait_ms = shared_.options.sniff_wait_ms;
  udp.observe_content = shared_.options.observe_content;
  udp.nat = shared_.options.udp;
  udp.origins = shared_.options.origins.get();
  udp.reply_sockets = shared_.options.reply_sockets;
  udp.own_listeners = shared_.options.own_listeners;
  udp.loop_guard = &shared_.loop_guard;
  udp.fds = &shared_.budget;
  udp.log = &shared_.log;
  udp.dns = dns_.get();
  udp.method = shared_.options.method;
  udp.next_flow_id = [this] { return ++next_flow_id_; };
  return udp;
}

void Worker::start() { thread_ = std::jthread(&Worker::run, this); }

void Worker::join() {
  loop_->stop();
  if (thread_.joinable()) thread_.join();
}

bool Worker::idle() const { return tasks_.load() == 0 && flows_->live() == 0; }

void Worker::ended_task() {
  tasks_.fetch_sub(1);
  if (idle()) shared_.idle_changed();
}

// Signals are the main thread's business; SIGPIPE, which splice() can raise and cannot be told not
// to, stays pending on this thread for ever.
void Worker::run() {
  const sigset_t all = signals_for_main_thread();
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  for (UniqueFd& fd : listeners_) begin_accepting(std::move(fd), nullptr);
  for (PlainSocket& plain : plain_listeners_) {
    begin_accepting(std::move(plain.fd), std::move(plain.listener));
  }
  if (held_ != nullptr) spawn(counted(held_->run()));
  if (source_ != nullptr) spawn(counted(source_->run(source_worker())));
  if (udp_ != nullptr) spawn(serve_udp());
  if (const auto ran = loop_->run(); !ran) log(LogLevel::error, ran.error().text());
  release_idle_frames();
}

void Worker::begin_accepting(UniqueFd fd, std::shared_ptr<const PlainListener> plain) {
  auto listener = WatchedFd::create(*loop_, std::move(fd), Slot::kReadable);
  if (!listener) {
    log(LogLevel::error, listener.error().text());
    return ended_task();
  }
  const auto address = local_endpoint(listener->fd());
  const Family family = address ? address->address.family() : Family::ipv4;
  spawn(accept_flows({.fd = std::move(*listener), .plain = std::move(plain), .family = family}));
}

void Worker::close_listeners() {
  loop_->post([this] {
    closing_ = true;
    for (const Acceptor* acceptor : accepting_) loop_->cancel(acceptor->fd.slot());
    if (held_ != nullptr) held_->close();
    if (source_ != nullptr) source_->close();
    dropped_->close();
    if (dns_ != nullptr) dns_->drain();
    if (udp_ != nullptr) udp_->drain();
  });
}

void Worker::end_changed(std::shared_ptr<const Policy> policy) {
  loop_->post([this, policy = std::move(policy)] {
    live_.end_changed(policy);
    if (udp_ != nullptr) udp_->end_changed(*policy);
  });
}

void Worker::cancel() {
  loop_->post([this] {
    closing_ = true;
    flows_->close();
    dropped_->close();
    if (udp_ != nullptr) udp_->stop();
    loop_->cancel_all();
  });
}

Worker::Accepted Worker::accept_one(const Acceptor& acceptor) {
  // A flow that waits for its client has room for it already.
  const bool has_room = shared_.budget.take(limits::kFdsPerFlow);
  if (!has_room && (held_ == nullptr || held_->awaited() == 0)) {
    relay_->pipes.shrink();
    count(Counter::accepts_paused);
    accept_trouble.warn("all descriptors are in use: new connections wait (RLIMIT_NOFILE)");
    return Accepted::no_room;
  }
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  UniqueFd fd(::accept4(acceptor.fd.fd(), reinterpret_cast<sockaddr*>(&peer), &size,
                        SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid()) {
    const int error = errno;
    if (has_room) shared_.budget.give_back(limits::kFdsPerFlow);
    if (error == EAGAIN) return Accepted::none;
    if (!out_of_resources(error)) return Accepted::one;  // ECONNABORTED and such: the next one
    count(Counter::accepts_paused);
    accept_trouble.warn(errno_error("cannot accept, new connections wait", error).text());
    return Accepted::no_room;
  }
  take_accepted(acceptor, std::move(fd), Endpoint::from(peer).value_or(Endpoint{}), has_room);
  return Accepted::one;
}

void Worker::take_accepted(const Acceptor& acceptor, UniqueFd fd, const Endpoint& source,
                           bool has_room) {
  Captured captured;
  captured.flow = {.id = 0,
                   .protocol = Protocol::tcp,
                   .method = shared_.options.method,
                   .source = source,
                   .original_destination = {},
                   .started = Clock::now()};
  if (acceptor.plain != nullptr) {
    if (const auto local = local_endpoint(fd.get())) captured.flow.received_at = *local;
    introduce(acceptor.plain, captured);
  } else if (shared_.options.origins != nullptr) {
    if (auto origin = shared_.options.origins->of_connection(captured.flow.source)) {
      captured.flow.original_destination = origin->destination;
      captured.flow.process = std::move(origin->process);
    }
  } else if (auto destination = original_destination(fd.get(), shared_.options.method)) {
    captured.flow.original_destination = *destination;
    if (held_ != nullptr && held_->claim(source, *destination, fd)) {
      if (has_room) shared_.budget.give_back(limits::kFdsPerFlow);
      return;
    }
  }  // Without one the flow is refused: port 0 is no place to connect to.
  if (!has_room) {
    reset_on_close(fd.get());
    return count(Counter::descriptors_short);
  }
  captured.flow.id = ++next_flow_id_;
  captured.client = accepted_client(std::move(fd));
  flows_->start(std::move(captured));
}

bool Worker::accept_captured(Family family) {
  const auto is_it = [family](const Acceptor* acceptor) {
    return acceptor->plain == nullptr && acceptor->family == family;
  };
  const auto found = std::ranges::find_if(accepting_, is_it);
  return found != accepting_.end() && accept_one(**found) == Accepted::one;
}

// Also the story of shutdown: cancelled, the acceptor empties the backlog once more, so that nobody
// who was let in by the kernel is reset by the closing listener.
Task<> Worker::accept_flows(Acceptor acceptor) {
  accepting_.push_back(&acceptor);
  int in_a_row = 0;
  while (!loop_->cancelled()) {
    switch (accept_one(acceptor)) {
      case Accepted::one:
        if (++in_a_row % limits::kAcceptBatch == 0) (void)co_await loop_->yield();
        continue;
      case Accepted::no_room:
        if (closing_) break;
        (void)co_await loop_->sleep(limits::kAcceptPauseMs);
        continue;
      case Accepted::none: break;
    }
    if (closing_) break;
    acceptor.fd.slot().clear(Slot::kReadable);
    (void)co_await loop_->readable(acceptor.fd.slot());
  }
  std::erase(accepting_, &acceptor);
  acceptor.fd.reset();
  ended_task();
}

Task<> Worker::counted(Task<> task) {
  co_await task;
  ended_task();
}

Task<> Worker::serve_udp() {
  co_await udp_->run();
  ended_task();
}

}  // namespace shunt
