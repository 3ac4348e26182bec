// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/worker.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "base/descriptor_table.h"
#include "base/limits.h"
#include "base/log.h"
#include "capture/plain_listeners.h"
#include "net/frame_pool.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr int kFdsOfLoop = 2;  // epoll, timerfd
constexpr int kFdsForDns = 2;  // to a server, old and new

RateLimitedLog accept_trouble;

bool out_of_resources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

Result<std::unique_ptr<Worker>> Worker::create(WorkerShared& shared, ListenerSet listeners,
                                               unsigned index) {
  std::unique_ptr<Worker> worker(new Worker(shared, index));
  worker->listener_set_ = std::move(listeners);
  worker->waker_ = SHUNT_TRY(EventLoop::make_waker());
  worker->waker_number_ = worker->waker_.get();
  return worker;
}

Result<void> Worker::start() {
  const std::vector<int> handed_over = listener_set_.descriptors();
  std::latch ready(1);
  thread_ = SHUNT_TRY(start_thread([this, &ready] { run(ready); }));
  ready.wait();
  // The thread's table has them; while this one has copies, what the worker closes stays open.
  if (own_budget_) {
    for (const int fd : handed_over) ::close(fd);
  }
  if (!begun_) thread_.join();
  return begun_;
}

// SIGPIPE, which splice() can raise and cannot be told not to, stays pending on this thread for
// ever.
void Worker::run(std::latch& ready) {
  leave_descriptor_table();
  begun_ = set_up();
  const bool serves = begun_.has_value();
  ready.count_down();
  if (serves) serve();
  give_up_sockets();
  release_idle_frames();
}

void Worker::leave_descriptor_table() {
  if (!shared_.options.own_tables || listener_set_.source != nullptr) return;
  std::vector<int> kept = shared_.needed;
  for (const int fd : listener_set_.descriptors()) kept.push_back(fd);
  if (!DescriptorTable::leave(std::move(kept))) return;
  listener_set_.adopt();
  own_budget_.emplace(
      spare_descriptors(kFdsOfLoop + kFdsForDns + shared_.options.other_descriptors));
  budget_ = &*own_budget_;
}

Result<void> Worker::set_up() {
  ListenerSet listeners = std::move(listener_set_);
  loop_ = SHUNT_TRY(EventLoop::create(std::move(waker_)));
  relay_ = std::make_unique<RelayResources>(*loop_, *budget_, shared_.options.idle_timeout_ms);
  set_up_flows();
  if (listeners.hold) hold(*std::move(listeners.hold));
  source_ = std::move(listeners.source);
  if (source_ != nullptr) ++tasks_;
  for (const UniqueFd& fd : listeners.tcp) tune_relayed_tcp(fd.get());  // accepted ones inherit it
  for (const PlainSocket& plain : listeners.plain_tcp) tune_relayed_tcp(plain.fd.get());
  listeners_ = std::move(listeners.tcp);
  plain_listeners_ = std::move(listeners.plain_tcp);
  tasks_ += static_cast<int>(listeners_.size() + plain_listeners_.size());
  if (shared_.options.reply_sockets == nullptr) listeners.udp.clear();
  if (!listeners.udp.empty() || !listeners.plain_udp.empty()) {
    udp_ = SHUNT_TRY(UdpServer::create(*loop_, std::move(listeners.udp), udp_options(),
                                       std::move(listeners.plain_udp)));
    ++tasks_;
  }
  return {};
}

void Worker::set_up_flows() {
  if (shared_.options.dns != nullptr) {
    const auto start = [this](Task<> task) {
      started_task();
      spawn(counted(std::move(task)));
    };
    const DnsSurroundings around{.start = start,
                                 .own_listeners = shared_.options.own_listeners,
                                 .memory = shared_.names.memory};
    dns_ = std::make_unique<DnsService>(*loop_, *shared_.options.dns, shared_.policy, shared_.log,
                                        around);
  }
  dropped_ = std::make_unique<DroppedClients>(*loop_, *budget_);
  flows_ = std::make_unique<FlowSet>(serve_context(), *budget_);
  flows_->on_end = [this] {
    if (idle()) shared_.idle_changed();
  };
}

void Worker::hold(Hold hold) {
  HeldConnections::Callbacks callbacks{
      .take_room = [this] { return budget_->take(limits::kFdsPerFlow); },
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
          .take_room = [this] { return budget_->take(limits::kFdsPerFlow); },
          .give_room = [this] { budget_->give_back(limits::kFdsPerFlow); },
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
  udp.fds = budget_;
  udp.log = &shared_.log;
  udp.dns = dns_.get();
  udp.quic = &shared_.quic;
  udp.method = shared_.options.method;
  udp.next_flow_id = [this] { return ++next_flow_id_; };
  return udp;
}

void Worker::join() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

bool Worker::idle() const { return tasks_.load() == 0 && flows_->live() == 0; }

void Worker::ended_task() {
  tasks_.fetch_sub(1);
  if (idle()) shared_.idle_changed();
}

void Worker::serve() {
  for (UniqueFd& fd : listeners_) begin_accepting(std::move(fd), nullptr);
  for (PlainSocket& plain : plain_listeners_) {
    begin_accepting(std::move(plain.fd), std::move(plain.listener));
  }
  if (held_ != nullptr) spawn(counted(held_->run()));
  if (source_ != nullptr) spawn(counted(source_->run(source_worker())));
  if (udp_ != nullptr) spawn(serve_udp());
  if (const auto ran = loop_->run(); !ran) log(LogLevel::error, ran.error().text());
}

/// What holds descriptors goes on the thread in whose table they are.
void Worker::give_up_sockets() {
  udp_.reset();
  source_.reset();
  held_.reset();
  dropped_.reset();
  dns_.reset();
  listeners_.clear();
  plain_listeners_.clear();
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
  const bool has_room = budget_->take(limits::kFdsPerFlow);
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
    if (has_room) budget_->give_back(limits::kFdsPerFlow);
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
      if (has_room) budget_->give_back(limits::kFdsPerFlow);
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
