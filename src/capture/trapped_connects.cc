// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_connects.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "capture/capture.h"
#include "capture/parked_client.h"
#include "net/socket.h"
#include "net/socket_state.h"

namespace shunt {
namespace {

/// What connect(2) says first of a socket that has connected meanwhile is 0, and then EISCONN.
/// Nothing else can come of it: a connection that is there is never under way again.
int connect_once_more(int fd, Family family) {
  const auto peer = peer_endpoint(fd);
  if (!peer) return ENOTCONN;
  const SocketAddress address(*peer, family);
  return ::connect(fd, address.get(), address.size()) == 0 ? 0 : errno;
}

/// What the kernel has to say of an attempt that is over; then the socket is as good as new.
int take_outcome(int fd) {
  const int error = pending_error(fd);
  (void)disconnect(fd);
  return error != 0 ? error : ECONNABORTED;
}

}  // namespace

CallAnswer TrappedConnects::connect(const TrappedCall& call, TrappedSocket socket,
                                    const Endpoint& destination) {
  if (auto answer = again(call, socket)) return *answer;
  // Who executes another program, or ends, is somebody else after the answer.
  auto caller = calling_process(call.thread);
  if (!context_.calls.waits(call.id)) return CallAnswer::error(EINTR);
  if (!context_.worker.take_room()) {
    count(Counter::descriptors_short);
    return CallAnswer::error(ENOBUFS);
  }
  const auto place = parking_.park(socket.fd.get(), socket.family(), destination);
  if (place) {
    const auto client = local_endpoint(socket.fd.get()).value_or(Endpoint{});
    return begin(call, std::move(socket), {.client = client, .place = *place}, destination,
                 std::move(caller));
  }
  context_.worker.give_room();
  // It was left to the kernel, and is called once more.
  if (place.error() == EALREADY && socket.is_blocking())
    return await_kernel(call, std::move(socket));
  return CallAnswer::error(place.error());
}

/// Of a socket that was connected, or tried to, before.
std::optional<CallAnswer> TrappedConnects::again(const TrappedCall& call,
                                                 const TrappedSocket& socket) {
  const int fd = socket.fd.get();
  const std::uint64_t cookie = socket.cookie();
  const bool blocking = socket.is_blocking();
  const auto known = pending_.find(cookie);
  const bool pending = known != pending_.end();
  if (pending && blocking) {
    known->second->connect.add(call.id, call.thread, due_of(socket));
    wake(*known->second);
    return CallAnswer::later();
  }
  const auto owed = take_owed(cookie);
  if (owed == EINPROGRESS && !blocking && (pending || is_connecting(fd))) {
    return tell(call, cookie, EINPROGRESS);
  }
  if (pending) {
    const bool again = told(cookie, call.thread) == EINPROGRESS;
    return CallAnswer::error(again ? EINPROGRESS : EALREADY);
  }
  if (owed == 0 && is_connected(fd)) return tell(call, cookie, 0);
  if (owed && *owed != 0 && *owed != EINPROGRESS) {
    (void)pending_error(fd);
    return tell(call, cookie, *owed);
  }
  const auto peer = peer_endpoint(fd);
  if (!peer || !parking_.is_place(*peer)) return std::nullopt;
  // The kernel knows whether it has said 0 already, or EISCONN.
  const int error = connect_once_more(fd, socket.family());
  if (error == EISCONN && told(cookie, call.thread) == 0) return tell(call, cookie, 0);
  return error == 0 ? tell(call, cookie, 0) : CallAnswer::error(error);
}

CallAnswer TrappedConnects::begin(const TrappedCall& call, TrappedSocket socket, const Ends& ends,
                                  const Endpoint& destination, CallingProcess caller) {
  const bool blocking = socket.is_blocking();
  const Tick due = due_of(socket);
  PendingConnect connect(context_.calls, std::move(socket));
  if (blocking) {
    connect.add(call.id, call.thread, due);
  } else {
    connect.know_in_progress();
  }
  const std::uint64_t cookie = connect.cookie();
  const auto pending = watch(std::move(connect));
  if (pending == nullptr) {
    context_.worker.give_room();
    return CallAnswer::error(ENOBUFS);
  }
  if (peers_.full() && peers_.find(ends) == nullptr) count(Counter::connect_peers_forgotten);
  context_.owners.note(Protocol::tcp, ends.client, std::move(caller));
  peers_.set(ends, destination);
  Captured captured;
  captured.flow = {.protocol = Protocol::tcp,
                   .method = context_.method,
                   .source = ends.client,
                   .original_destination = destination,
                   .started = Clock::now()};
  captured.client = std::make_unique<Parked>(*this, pending, ends);
  start(std::move(captured));
  if (blocking) return CallAnswer::later();
  return pending->over ? CallAnswer::error(EINPROGRESS) : tell(call, cookie, EINPROGRESS);
}

void TrappedConnects::start(Captured captured) {
  if (!early_) return context_.worker.start(std::move(captured));
  context_.worker.run(begin_early(std::move(captured)));
}

/// It is an accepted client from the beginning, as the user asked.
Task<> TrappedConnects::begin_early(Captured captured) const {
  auto admitted = co_await captured.client->admit();
  if (admitted) captured.client = accepted_client(*std::move(admitted));
  context_.worker.start(std::move(captured));
}

CallAnswer TrappedConnects::connect_natively(const TrappedCall& call, TrappedSocket socket,
                                             const SocketAddress& address) {
  const bool tcp = socket.is_tcp();
  if (tcp) {
    if (auto answer = again(call, socket)) return *answer;
  }
  int error = connect_without_waiting(socket.fd.get(), address);
  if (error == EISCONN && told(socket.cookie(), call.thread) == 0) error = 0;
  const bool under_way = error == EINPROGRESS || error == EALREADY;
  if (under_way && socket.is_blocking()) return await_kernel(call, std::move(socket));
  const bool said_once = error == 0 || error == EINPROGRESS;
  return tcp && said_once ? tell(call, socket.cookie(), error) : CallAnswer::error(error);
}

/// A blocking connect() whose outcome is the kernel's.
CallAnswer TrappedConnects::await_kernel(const TrappedCall& call, TrappedSocket socket) {
  const Tick due = due_of(socket);
  PendingConnect connect(context_.calls, std::move(socket));
  connect.add(call.id, call.thread, due);
  if (!is_connecting(connect.fd())) {  // loopback takes no time
    conclude(connect);
    return CallAnswer::later();
  }
  if (!context_.worker.take_room()) {
    count(Counter::descriptors_short);
    (void)shunt::disconnect(connect.fd());  // as watch() does
    return CallAnswer::error(ENOBUFS);
  }
  if (const auto pending = watch(std::move(connect))) {
    pending->has_room = true;
    return CallAnswer::later();
  }
  context_.worker.give_room();
  return CallAnswer::error(ENOBUFS);
}

/// Null where the loop has no room: then the socket is connecting no more. Nobody would ever tell
/// it what has become of that.
std::shared_ptr<TrappedConnects::Pending> TrappedConnects::watch(PendingConnect connect) {
  auto pending = std::make_shared<Pending>(std::move(connect));
  const auto slot = context_.worker.loop->watch(pending->connect.fd(), 0);
  if (!slot) {
    count(Counter::descriptors_short);
    (void)shunt::disconnect(pending->connect.fd());
    return nullptr;
  }
  pending->slot = *slot;
  pending_[pending->connect.cookie()] = pending;
  context_.worker.run(follow(pending));
  return pending;
}

Task<> TrappedConnects::follow(std::shared_ptr<Pending> pending) {
  EventLoop& loop = *context_.worker.loop;
  while (!pending->over && !context_.closing && !loop.cancelled()) {
    const Wake woken = co_await loop.writable(*pending->slot, look_again_ms(*pending));
    if (pending->over || (woken == Wake::ready && settle(*pending))) break;
    pending->connect.expire(loop.now_tick());
    if (pending->parked == nullptr && is_left(*pending)) break;
  }
  loop.unwatch(pending->connect.fd());
  pending->slot = nullptr;
  if (pending->has_room) context_.worker.give_room();
  if (pending->parked != nullptr) co_return;  // its flow answers
  if (!pending->over) leave(*pending);
  (void)pending->connect.answer(ETIMEDOUT);
}

/// Nobody waits for it, and who was called away has not come again for longer than most handlers of
/// signals take. Until then the time goes on that it had.
bool TrappedConnects::is_left(Pending& pending) const {
  const EventLoop& loop = *context_.worker.loop;
  if (!pending.connect.expected()) return true;
  if (pending.connect.awaited()) {
    pending.away_until.reset();
    return false;
  }
  if (!pending.away_until) pending.away_until = loop.in(limits::kCallAwayMs);
  return loop.now_tick() >= *pending.away_until;
}

std::uint32_t TrappedConnects::look_again_ms(const Pending& pending) const {
  const EventLoop& loop = *context_.worker.loop;
  const Tick due = pending.connect.due();
  if (due == TimerWheel::kNever) {
    return pending.connect.expected() ? limits::kCallAwayMs : limits::kConnectUnaskedMs;
  }
  const Tick now = loop.now_tick();
  const Tick left_ms = due > now ? (due - now) * kTickMs : 0;
  return static_cast<std::uint32_t>(std::clamp<Tick>(left_ms, 1, limits::kCallAwayMs));
}

/// After an event: whether the kernel has come to an end with the socket by itself, which says so.
bool TrappedConnects::settle(Pending& pending) {
  const int fd = pending.connect.fd();
  pending.slot->clear(Slot::kReadable | Slot::kWritable);
  if (is_connecting(fd)) return false;
  if (pending.parked != nullptr && is_connected(fd)) return false;  // it is being admitted
  if (pending.parked != nullptr) std::exchange(pending.parked, nullptr)->lose();
  leave(pending);
  conclude(pending.connect);
  return true;
}

/// Tells who waits what has become of a socket that is connected, or that the kernel has given up.
/// Where nobody ever waited the kernel tells it.
void TrappedConnects::conclude(PendingConnect& connect) {
  if (!connect.expected()) return;
  const int error = is_connected(connect.fd()) ? 0 : take_outcome(connect.fd());
  const auto told = connect.answer(error);
  if (told && error == 0) {
    note_told(connect.cookie(), *told, 0);
    (void)connect_once_more(connect.fd(), connect.family());
  }
  if (!told && error != 0) owe(connect.cookie(), error);
}

void TrappedConnects::leave(Pending& pending) {
  pending.over = true;
  const auto known = pending_.find(pending.connect.cookie());
  const bool here = known != pending_.end() && known->second.get() == &pending;
  wake(pending);
  if (here) pending_.erase(known);  // may be the last that holds it
}

void TrappedConnects::wake(Pending& pending) const {
  if (pending.slot != nullptr) context_.worker.loop->cancel(*pending.slot);
}

void TrappedConnects::close() {
  for (const auto& [cookie, pending] : pending_) wake(*pending);
}

CallAnswer TrappedConnects::disconnect(const TrappedSocket& socket) {
  const std::uint64_t cookie = socket.cookie();
  (void)take_owed(cookie);
  std::shared_ptr<Pending> pending;
  if (const auto known = pending_.find(cookie); known != pending_.end()) {
    pending = known->second;
    if (pending->parked != nullptr) std::exchange(pending->parked, nullptr)->lose();
    leave(*pending);
  }
  const int error = shunt::disconnect(socket.fd.get());
  if (pending != nullptr) (void)pending->connect.answer(ECONNRESET);
  return CallAnswer::error(error);
}

/// Answers with what is said only once: if a signal has called the program away meanwhile it will
/// ask again.
CallAnswer TrappedConnects::tell(const TrappedCall& call, std::uint64_t cookie, int os_error) {
  const WaitingCalls& calls = context_.calls;
  const bool arrived = os_error == 0 ? calls.finish(call.id, 0) : calls.fail(call.id, os_error);
  if (!arrived) {
    owe(cookie, os_error);
  } else if (os_error == 0 || os_error == EINPROGRESS) {
    note_told(cookie, call.thread, os_error);
  }
  return CallAnswer::later();
}

// A thread that a signal has woken misses an answer that comes before it has left the wait
// (seccomp_do_user_notification(), kernel/seccomp.c).
void TrappedConnects::note_told(std::uint64_t cookie, pid_t thread, int os_error) {
  if (context_.method != CaptureMethod::seccomp) return;
  const Tick until = context_.worker.loop->in(limits::kCallToldMs);
  told_.set(cookie, {.thread = thread, .os_error = os_error, .until = until});
}

/// Nothing where it cannot have missed it.
std::optional<int> TrappedConnects::told(std::uint64_t cookie, pid_t thread) {
  const Told* const told = told_.empty() ? nullptr : told_.find(cookie);
  if (told == nullptr || told->thread != thread) return std::nullopt;
  const int error = told->os_error;
  const bool over = told->until < context_.worker.loop->now_tick();
  if (over || !catches_signals(thread)) {
    told_.erase(cookie);
    return std::nullopt;
  }
  return error;
}

void TrappedConnects::owe(std::uint64_t cookie, int os_error) {
  if (owed_.full() && owed_.find(cookie) == nullptr) count(Counter::connect_results_lost);
  owed_.set(cookie, os_error);
}

std::optional<int> TrappedConnects::take_owed(std::uint64_t cookie) {
  const int* const owed = owed_.empty() ? nullptr : owed_.find(cookie);
  if (owed == nullptr) return std::nullopt;
  const int error = *owed;
  owed_.erase(cookie);
  return error;
}

Tick TrappedConnects::due_of(const TrappedSocket& socket) const {
  const auto timeout = socket.timeout_ms(SO_SNDTIMEO);
  return timeout ? context_.worker.loop->in(*timeout) : TimerWheel::kNever;
}

bool TrappedConnects::has_failures() const {
  return !owed_.empty() || failure_told_until_ >= context_.worker.loop->now_tick();
}

std::optional<int> TrappedConnects::failure_of(const TrappedSocket& socket, pid_t thread) {
  const std::uint64_t cookie = socket.cookie();
  const int* const owed = owed_.empty() ? nullptr : owed_.find(cookie);
  const auto error = owed != nullptr ? std::optional(*owed) : told(cookie, thread);
  return error && *error != 0 && *error != EINPROGRESS ? error : std::nullopt;
}

void TrappedConnects::forget_failure(const TrappedSocket& socket, pid_t thread) {
  const std::uint64_t cookie = socket.cookie();
  if (const auto error = take_owed(cookie)) {
    note_told(cookie, thread, *error);
    failure_told_until_ = context_.worker.loop->in(limits::kCallToldMs);
  }
  (void)pending_error(socket.fd.get());
}

std::optional<Endpoint> TrappedConnects::peer_of(const Endpoint& client, const Endpoint& place) {
  const Endpoint* const peer = peers_.find({.client = client, .place = place});
  return peer == nullptr ? std::nullopt : std::optional(*peer);
}

}  // namespace shunt
