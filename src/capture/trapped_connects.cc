// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_connects.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "base/counters.h"
#include "base/limits.h"
#include "capture/capture.h"
#include "net/socket.h"
#include "net/timer_wheel.h"

namespace shunt {
namespace {

constexpr std::uint32_t kLookAgainMs = 250;  // whether somebody waits still for a call's answer

ConnectFailure gone(bool stopping) {
  const auto reason = stopping ? ConnectReason::cancelled : ConnectReason::client_gone;
  if (!stopping) count(Counter::held_clients_gone);
  return {.reason = reason, .os_error = 0, .detail = {}};
}

}  // namespace

/// Belongs to its flow, and is known by its cookie until it is admitted or turned away.
class TrappedConnects::Parked final : public Admission {
 public:
  Parked(TrappedConnects& owner, TrappedSocket socket, std::uint64_t cookie, const Flow& flow)
      : owner_(owner),
        socket_(std::move(socket.fd)),
        family_(socket.family()),
        cookie_(cookie),
        client_(flow.source),
        destination_(flow.original_destination) {
    owner_.parked_[cookie_] = this;
  }
  Parked(const Parked&) = delete;
  Parked& operator=(const Parked&) = delete;
  ~Parked() override {
    if (socket_.valid()) turn_away(ECONNREFUSED);
  }

  /// This call is answered with the result, and not the one that was before, which waits no more if
  /// a signal called it away.
  void adopt(std::uint64_t id) {
    if (call_) (void)trap().fail(*call_, EALREADY);
    call_ = id;
  }
  /// The program's own timeout, which answers the call `id`.
  void give_until(Tick due) { due_ = due; }
  void expire(std::uint64_t id) {
    if (call_ != id) return;
    (void)trap().fail(id, EINPROGRESS);
    call_.reset();
  }

  Task<std::expected<UniqueFd, ConnectFailure>> admit() override {
    UniqueFd ours;
    // A socket that was disconnected, or timed out, has left its address to others.
    if (local_endpoint(socket_.get()).value_or(Endpoint{}) == client_) {
      if (auto begun = owner_.parking_.meet(client_)) ours = *std::move(begun);
    }
    if (ours.valid() && !is_connected(ours.get())) co_await connected(ours.get());
    if (!ours.valid() || !is_connected(ours.get())) {
      const bool stopping = owner_.context_.closing;
      turn_away(ECONNREFUSED);
      co_return std::unexpected(gone(stopping));
    }
    owner_.peers_.set(cookie_, destination_);
    if (call_) finish_call();
    leave();
    co_return ours;
  }

  void refuse(const ConnectFailure& failure) override {
    // That we had enough is no outcome: the program's kernel has patience of its own.
    const bool no_answer = failure.reason == ConnectReason::timed_out && failure.os_error == 0;
    if (no_answer) return (void)drop();
    if (socket_.valid()) turn_away(reason_errno(failure.reason));
  }

  UniqueFd drop() override {
    UniqueFd socket = std::move(socket_);
    const auto call = call_;
    leave();
    if (call) owner_.context_.worker.run(owner_.outlast(std::move(socket), *call, due_));
    return {};
  }

  [[nodiscard]] int peekable_fd() const override { return -1; }
  [[nodiscard]] std::optional<std::string> arrival_interface() const override { return ""; }

 private:
  [[nodiscard]] const CallTrap& trap() const { return owner_.context_.trap; }

  Task<> connected(int fd) const {
    EventLoop& loop = *owner_.context_.worker.loop;
    const auto slot = loop.watch(fd, 0);
    if (!slot) co_return;
    (void)co_await loop.writable(**slot, limits::kHeldAdmitMs);
    loop.unwatch(fd);
  }

  // A connect() that has returned 0 says EISCONN next; the kernel's own says 0 once more.
  void finish_call() {
    if (const auto peer = peer_endpoint(socket_.get())) {
      (void)connect_without_waiting(socket_.get(), SocketAddress(*peer, family_));
    }
    (void)trap().finish(*call_, 0);
  }

  // Disconnecting wakes whoever polls. The kernel's own word for it would be ECONNRESET.
  void turn_away(int os_error) {
    ::shutdown(socket_.get(), SHUT_RDWR);
    bool told = false;
    if (call_) told = trap().fail(*call_, os_error);
    if (told) {
      (void)pending_error(socket_.get());
    } else {
      owner_.failures_.set(cookie_, os_error);
    }
    leave();
  }

  void leave() {
    socket_.reset();
    call_.reset();
    const auto known = owner_.parked_.find(cookie_);
    if (known != owner_.parked_.end() && known->second == this) owner_.parked_.erase(known);
  }

  TrappedConnects& owner_;
  UniqueFd socket_;  // the program's
  Family family_;
  std::uint64_t cookie_;
  Endpoint client_;
  Endpoint destination_;
  std::optional<std::uint64_t> call_;  // that waits
  Tick due_ = TimerWheel::kNever;
};

CallAnswer TrappedConnects::connect(const TrappedCall& call, TrappedSocket socket,
                                    const Endpoint& destination) {
  if (auto answer = again(call, socket)) return *answer;
  const int error = parking_.park(socket.fd.get(), socket.family(), destination);
  if (error == EALREADY && socket.is_blocking()) {  // left to the kernel, and called once more
    const Tick due = due_of(socket);
    context_.worker.run(outlast(std::move(socket.fd), call.id, due));
    return CallAnswer::later();
  }
  if (error != 0) return CallAnswer::error(error);
  return begin(call, std::move(socket), destination);
}

/// Of a socket that was connected, or tried to, before.
std::optional<CallAnswer> TrappedConnects::again(const TrappedCall& call,
                                                 const TrappedSocket& socket) {
  const std::uint64_t cookie = socket.cookie();
  if (const auto known = parked_.find(cookie); known != parked_.end()) {
    if (!socket.is_blocking()) return CallAnswer::error(EALREADY);
    known->second->adopt(call.id);  // the same call once more, after a signal
    return CallAnswer::later();
  }
  if (const auto failure = take_failure(socket)) return CallAnswer::error(*failure);
  const auto peer = peer_endpoint(socket.fd.get());
  if (!peer || !parking_.is_place(*peer)) return std::nullopt;
  // The kernel knows whether it has said 0 already, or EISCONN.
  const int error = connect_without_waiting(socket.fd.get(), SocketAddress(*peer, socket.family()));
  return CallAnswer::error(error);
}

CallAnswer TrappedConnects::begin(const TrappedCall& call, TrappedSocket socket,
                                  const Endpoint& destination) {
  const auto client = local_endpoint(socket.fd.get());
  if (!client || !context_.worker.take_room()) {
    ::shutdown(socket.fd.get(), SHUT_RDWR);
    (void)pending_error(socket.fd.get());
    if (client) count(Counter::descriptors_short);
    return CallAnswer::error(ENOBUFS);
  }
  context_.owners.note(Protocol::tcp, *client, call.thread);
  const std::uint64_t cookie = socket.cookie();
  const bool blocking = socket.is_blocking();
  const Tick due = due_of(socket);
  Captured captured;
  captured.flow = {.protocol = Protocol::tcp,
                   .method = CaptureMethod::seccomp,
                   .source = *client,
                   .original_destination = destination,
                   .started = Clock::now()};
  auto parked = std::make_unique<Parked>(*this, std::move(socket), cookie, captured.flow);
  if (blocking) {
    parked->adopt(call.id);
    parked->give_until(due);
    if (due != TimerWheel::kNever) context_.worker.run(expire(cookie, call.id, due));
  } else {
    (void)context_.trap.fail(call.id, EINPROGRESS);
  }
  captured.client = std::move(parked);
  if (early_) {
    context_.worker.run(begin_early(std::move(captured)));
  } else {
    context_.worker.start(std::move(captured));
  }
  return CallAnswer::later();
}

/// It is an accepted client from the beginning, as the user asked.
Task<> TrappedConnects::begin_early(Captured captured) {
  auto admitted = co_await captured.client->admit();
  if (admitted) captured.client = accepted_client(*std::move(admitted));
  context_.worker.start(std::move(captured));
}

Tick TrappedConnects::due_of(const TrappedSocket& socket) const {
  const auto timeout = socket.timeout_ms(SO_SNDTIMEO);
  return timeout ? context_.worker.loop->in(*timeout) : TimerWheel::kNever;
}

Task<> TrappedConnects::expire(std::uint64_t cookie, std::uint64_t id, Tick due) {
  EventLoop& loop = *context_.worker.loop;
  while (!context_.closing && !loop.cancelled() && loop.now_tick() < due) {
    const auto known = parked_.find(cookie);
    if (known == parked_.end()) co_return;
    const auto left = static_cast<std::uint32_t>((due - loop.now_tick()) * kTickMs);
    (void)co_await loop.sleep(std::min(left, kLookAgainMs));
  }
  if (const auto known = parked_.find(cookie); known != parked_.end()) known->second->expire(id);
}

/// Answers a blocking connect() when the kernel has come to an end with the socket.
Task<> TrappedConnects::outlast(UniqueFd socket, std::uint64_t id, Tick due) {
  EventLoop& loop = *context_.worker.loop;
  const auto slot = loop.watch(socket.get(), 0);
  int error = slot ? ETIMEDOUT : ENOBUFS;
  while (slot && !context_.closing && context_.trap.waits(id)) {
    const Wake wake = co_await loop.writable(**slot, kLookAgainMs);
    if (wake == Wake::ready) error = pending_error(socket.get());
    const bool over = loop.now_tick() >= due;
    if (wake == Wake::timeout && over) error = EINPROGRESS;
    if (wake != Wake::timeout || over) break;
  }
  if (slot) loop.unwatch(socket.get());
  give_answer(context_.trap, id, CallAnswer::error(error));
}

CallAnswer TrappedConnects::connect_natively(const TrappedCall& call, TrappedSocket socket,
                                             const SocketAddress& address) {
  failures_.erase(socket.cookie());
  const int error = connect_without_waiting(socket.fd.get(), address);
  const bool under_way = error == EINPROGRESS || error == EALREADY;
  if (!under_way || !socket.is_blocking()) return CallAnswer::error(error);
  const Tick due = due_of(socket);
  context_.worker.run(outlast(std::move(socket.fd), call.id, due));
  return CallAnswer::later();
}

CallAnswer TrappedConnects::disconnect(const TrappedSocket& socket) {
  const std::uint64_t cookie = socket.cookie();
  failures_.erase(cookie);
  peers_.erase(cookie);
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  return CallAnswer::error(::connect(socket.fd.get(), &none, sizeof none) == 0 ? 0 : errno);
}

std::optional<int> TrappedConnects::take_failure(const TrappedSocket& socket) {
  if (failures_.empty()) return std::nullopt;
  const std::uint64_t cookie = socket.cookie();
  const int* const failure = failures_.find(cookie);
  if (failure == nullptr) return std::nullopt;
  const int error = *failure;
  failures_.erase(cookie);
  (void)pending_error(socket.fd.get());
  return error;
}

std::optional<Endpoint> TrappedConnects::peer_of(std::uint64_t cookie) {
  const Endpoint* const peer = peers_.find(cookie);
  return peer == nullptr ? std::nullopt : std::optional(*peer);
}

}  // namespace shunt
