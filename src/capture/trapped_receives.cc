// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_receives.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <expected>
#include <string_view>

#include "base/counters.h"
#include "capture/call_limits.h"
#include "net/timer_wheel.h"

namespace shunt {
namespace {

bool fails_with(const CallOutcome& outcome, int error) {
  return !outcome && outcome.error() == error;
}

/// For reading. The kernel then wakes who waits, and says 0, but EAGAIN to who does not wait.
bool is_shut_down(const TrappedSocket& socket) {
  pollfd entry{.fd = socket.fd.get(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP)) != 0;
}

}  // namespace

CallAnswer TrappedReceives::receive(const TrappedCall& call, TrappedSocket socket,
                                    std::uint64_t cookie) {
  if (const auto done = context_.repeated.take(call, cookie); done && is_there(call, *done)) {
    tell(context_, call, cookie, done->value, done->digest);
    return CallAnswer::later();
  }
  if (context_.repeated.join(call, cookie)) return CallAnswer::later();
  const CallOutcome outcome = try_receive(call, socket);
  const bool waits = (message_flags(call) & (MSG_DONTWAIT | MSG_ERRQUEUE)) == 0;
  if (!fails_with(outcome, EAGAIN) || !waits || !socket.is_blocking()) {
    tell(context_, call, cookie, outcome, digest_);
  } else {
    context_.worker.run(receive_later(call, std::move(socket), cookie));
  }
  return CallAnswer::later();
}

/// A signal calls the program away without a word to us: hence the looks at whether it waits.
Task<> TrappedReceives::receive_later(TrappedCall first, TrappedSocket socket,
                                      std::uint64_t cookie) {
  EventLoop& loop = *context_.worker.loop;
  RepeatedCalls::Wait wait(context_.repeated, loop, first, cookie);
  const auto timeout = socket.timeout_ms(SO_RCVTIMEO);
  const Tick due = timeout ? loop.in(*timeout) : TimerWheel::kNever;
  Slot* const slot = watch(socket);
  if (slot == nullptr) socket.fd.reset();
  wait.wakes(slot);
  CallOutcome outcome = std::unexpected(EAGAIN);
  while (!context_.closing && !loop.cancelled() && !wait.is_over()) {
    if (slot != nullptr) slot->clear(Slot::kReadable);
    outcome = look(wait.call(), socket, cookie);
    const bool away = fails_with(outcome, EINTR);
    if (!away && !fails_with(outcome, EAGAIN)) break;
    const Tick now = loop.now_tick();
    if (!away && now >= due) break;
    const Tick left = due > now && due != TimerWheel::kNever ? due - now : Tick{1} << 32;
    const auto ms = static_cast<std::uint32_t>(std::min<Tick>(left * kTickMs, limits::kCallAwayMs));
    if (slot != nullptr) {
      (void)co_await loop.readable(*slot, ms);
    } else {
      (void)co_await loop.sleep(ms);
    }
  }
  if (slot != nullptr) {
    loop.unwatch(socket.fd.get());
    --watched_;
  }
  tell(context_, wait.call(), cookie, outcome, digest_);
}

/// Null where too many are watched, or descriptors are short: then it is looked at now and then.
Slot* TrappedReceives::watch(const TrappedSocket& socket) {
  if (watched_ < limits::kReceivesWatched) {
    if (const auto slot = context_.worker.loop->watch(socket.fd.get(), 0)) {
      ++watched_;
      return *slot;
    }
  }
  count(Counter::udp_receives_unwatched);
  return nullptr;
}

/// With a copy for the moment where `socket` is none.
CallOutcome TrappedReceives::look(const TrappedCall& call, const TrappedSocket& socket,
                                  std::uint64_t cookie) {
  if (socket.fd.valid()) return receive_or_end(call, socket);
  const auto copy = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!copy) return std::unexpected(copy.error() == EBADF ? EBADF : EAGAIN);
  if (copy->cookie() != cookie) return std::unexpected(EBADF);
  return receive_or_end(call, *copy);
}

CallOutcome TrappedReceives::receive_or_end(const TrappedCall& call, const TrappedSocket& socket) {
  const CallOutcome outcome = try_receive(call, socket);
  if (!fails_with(outcome, EAGAIN) || !is_shut_down(socket)) return outcome;
  return end_of_input(call, socket);
}

CallOutcome TrappedReceives::try_receive(const TrappedCall& call, const TrappedSocket& socket) {
  digest_ = 0;
  if (call.number == SYS_recvmmsg) return receive_many(call, socket);
  if (call.number == SYS_recvmsg) {
    return receive_message(call, socket, call.arguments[1], message_flags(call));
  }
  return receive_one(call, socket);
}

/// recvfrom().
CallOutcome TrappedReceives::receive_one(const TrappedCall& call, const TrappedSocket& socket) {
  if (!context_.calls.waits(call.id)) return std::unexpected(EINTR);
  const MessageParts parts = parts_of_buffer(call.arguments[1], call.arguments[2]);
  const ssize_t received =
      ::recvmsg(socket.fd.get(), incoming_.prepare(parts), message_flags(call) | MSG_DONTWAIT);
  if (received < 0) return std::unexpected(errno);
  MessageTurn(context_).add(static_cast<std::size_t>(received));
  int error = write_payload(call.thread, parts, incoming_, static_cast<std::size_t>(received));
  const auto source = call.arguments[4] != 0 ? shown_source(incoming_) : std::nullopt;
  if (error == 0 && source) {
    error = write_address(socket, call.thread, *source, call.arguments[4], call.arguments[5]);
  }
  if (error != 0) return std::unexpected(error);
  note(source, static_cast<std::size_t>(received));
  return received;
}

CallOutcome TrappedReceives::receive_message(const TrappedCall& call, const TrappedSocket& socket,
                                             std::uint64_t header, int flags) {
  const auto parts = read_message_parts(call.thread, header);
  if (!parts) return std::unexpected(parts.error());
  if (!context_.calls.waits(call.id)) return std::unexpected(EINTR);
  const ssize_t received =
      ::recvmsg(socket.fd.get(), incoming_.prepare(*parts), flags | MSG_DONTWAIT);
  if (received < 0) return std::unexpected(errno);
  int error = write_payload(call.thread, *parts, incoming_, static_cast<std::size_t>(received));
  const auto source = parts->name != 0 ? shown_source(incoming_) : std::nullopt;
  if (error == 0) {
    error =
        write_header(socket, call.thread, header, *parts, incoming_, source ? &*source : nullptr);
  }
  if (error != 0) return std::unexpected(error);
  note(source, static_cast<std::size_t>(received));
  return received;
}

CallOutcome TrappedReceives::receive_many(const TrappedCall& call, const TrappedSocket& socket) {
  const std::uint64_t messages = messages_of(call);
  const int flags = message_flags(call) & ~MSG_WAITFORONE;
  MessageTurn turn(context_);
  for (std::uint64_t i = 0; i < messages; ++i) {
    const CallOutcome received = receive_message(call, socket, header_at(call, i), flags);
    const bool written = received && write_length(call, i, *received);
    if (!written && i == 0) return std::unexpected(received ? EFAULT : received.error());
    if (!written) return static_cast<std::int64_t>(i);
    turn.add(static_cast<std::size_t>(*received));
    if (turn.over()) return static_cast<std::int64_t>(i + 1);
  }
  return static_cast<std::int64_t>(messages);
}

/// A message that the program has in its memory now, as incoming_ holds it.
void TrappedReceives::note(const std::optional<Endpoint>& source, std::size_t received) {
  const std::string_view payload(incoming_.payload.data(),
                                 std::min(received, incoming_.piece.iov_len));
  const std::uint64_t from = source ? EndpointHash{}(*source) : 0;
  digest_ = (digest_ * 31 + digest_of(payload)) * 31 + from;
}

/// Whether the program's memory still holds all of what the call left there.
bool TrappedReceives::is_there(const TrappedCall& call, const RepeatedCalls::Done& done) {
  digest_ = 0;
  if (call.number == SYS_recvfrom) {
    MessageParts parts = parts_of_buffer(call.arguments[1], call.arguments[2]);
    parts.name = call.arguments[4];
    const auto size = parts.name == 0 ? std::expected<std::uint32_t, int>(0)
                                      : read_value<std::uint32_t>(call.thread, call.arguments[5]);
    parts.name_size = size.value_or(0);
    return size && note_again(call.thread, parts, static_cast<std::size_t>(done.value)) &&
           digest_ == done.digest;
  }
  const bool many = call.number == SYS_recvmmsg;
  const std::int64_t messages = many ? done.value : 1;
  for (std::int64_t i = 0; i < messages; ++i) {
    const auto index = static_cast<std::uint64_t>(i);
    const std::uint64_t header = many ? header_at(call, index) : call.arguments[1];
    const auto parts = read_message_parts(call.thread, header);
    const auto received = many ? read_length(call, index) : std::optional(done.value);
    if (!parts || !received) return false;
    if (!note_again(call.thread, *parts, static_cast<std::size_t>(*received))) return false;
  }
  return digest_ == done.digest;
}

bool TrappedReceives::note_again(pid_t thread, const MessageParts& parts, std::size_t received) {
  const std::size_t name_size = std::min<std::size_t>(parts.name_size, sizeof incoming_.name);
  incoming_.name = {};
  const bool read = read_payload(thread, parts, incoming_, received) == 0 &&
                    read_memory(thread, parts.name, &incoming_.name, name_size).has_value();
  if (read) note(name_size == 0 ? std::nullopt : Endpoint::from(incoming_.name), received);
  return read;
}

/// As the kernel says it of a socket that is shut down: a message of no bytes, from nobody.
CallOutcome TrappedReceives::end_of_input(const TrappedCall& call, const TrappedSocket& socket) {
  if (!context_.calls.waits(call.id)) return std::unexpected(EINTR);
  digest_ = 0;
  note(std::nullopt, 0);
  if (call.number == SYS_recvfrom) {
    const std::uint32_t size = 0;
    if (call.arguments[4] == 0) return 0;
    const auto written = write_memory(call.thread, call.arguments[5], &size, sizeof size);
    return written ? CallOutcome(0) : std::unexpected(written.error());
  }
  const bool many = call.number == SYS_recvmmsg;
  const std::uint64_t header = many ? header_at(call, 0) : call.arguments[1];
  const auto parts = read_message_parts(call.thread, header);
  if (!parts) return std::unexpected(parts.error());
  incoming_.prepare(*parts)->msg_controllen = 0;
  const int error = write_header(socket, call.thread, header, *parts, incoming_, nullptr);
  if (error != 0) return std::unexpected(error);
  if (many && !write_length(call, 0, 0)) return std::unexpected(EFAULT);
  return many ? 1 : 0;
}

std::optional<Endpoint> TrappedReceives::shown_source(const IncomingMessage& message) {
  if (message.header.msg_namelen == 0) return std::nullopt;
  auto source = Endpoint::from(message.name);
  if (!source) return std::nullopt;
  if (const auto meant = stand_ins_->meant_by(*source)) return meant;
  return source;
}

}  // namespace shunt
