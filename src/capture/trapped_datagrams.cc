// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_datagrams.h"

#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "capture/parking.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::uint32_t kLookAgainMs = 250;  // whether somebody waits still for a call's answer
constexpr std::uint32_t kSendAgainMs = 1;    // a socket's buffer drains on loopback at once
constexpr std::uint32_t kSendForMs = 1'000;
constexpr std::uint64_t kMostMessages = 1024;  // UIO_MAXIOV, as the kernel caps them

using Outcome = std::expected<std::int64_t, int>;

int flags_of(const TrappedCall& call) {
  const bool third = call.number == SYS_sendmsg || call.number == SYS_recvmsg;
  return static_cast<int>(call.arguments[third ? 2 : 3]);
}

/// struct mmsghdr, element `index` of the call's vector.
std::uint64_t header_at(const TrappedCall& call, std::uint64_t index) {
  return call.arguments[1] + index * sizeof(mmsghdr);
}

std::uint64_t messages_of(const TrappedCall& call) {
  return std::min<std::uint64_t>(static_cast<std::uint32_t>(call.arguments[2]), kMostMessages);
}

bool write_length(const TrappedCall& call, std::uint64_t index, std::int64_t bytes) {
  const auto length = static_cast<std::uint32_t>(bytes);
  return write_memory(call.thread, header_at(call, index) + offsetof(mmsghdr, msg_len), &length,
                      sizeof length)
      .has_value();
}

CallAnswer answer_of(const Outcome& outcome) {
  return outcome ? CallAnswer::result(*outcome) : CallAnswer::error(outcome.error());
}

}  // namespace

CallAnswer TrappedDatagrams::connect(const TrappedCall& call, const TrappedSocket& socket,
                                     const Endpoint& destination) {
  const auto stand_in = stand_in_of(socket, destination);
  if (!stand_in) return CallAnswer::error(stand_in.error());
  if (::connect(socket.fd.get(), stand_in->get(), stand_in->size()) != 0) {
    return CallAnswer::error(errno);
  }
  note(call, socket, true);
  return CallAnswer::result(0);
}

std::expected<SocketAddress, int> TrappedDatagrams::stand_in_of(const TrappedSocket& socket,
                                                                const Endpoint& destination) {
  const int fd = socket.fd.get();
  if (is_bound_to_device(fd)) return std::unexpected(EHOSTUNREACH);
  if (socket.family() == Family::ipv6) {
    const bool v6_only = is_v6_only(fd);
    if (v6_only && destination.address.is_v4()) return std::unexpected(ENETUNREACH);
    const auto bound = local_endpoint(fd);
    const bool has_address = bound && !bound->address.is_any() && !bound->address.is_v4();
    if (has_address || (v6_only && !clear_v6_only(fd))) return std::unexpected(EADDRNOTAVAIL);
  }
  if (!stand_ins_->knows(destination)) {
    if (const int error = courses_.unreachable(destination); error != 0) {
      return std::unexpected(error);
    }
  }
  return SocketAddress(stand_ins_->stand_in_for(destination), socket.family());
}

/// Of outgoing_; nothing: where the socket is connected to.
std::expected<std::optional<SocketAddress>, int> TrappedDatagrams::target_of(
    const TrappedCall& /*call*/, const TrappedSocket& socket) {
  if (outgoing_.name_size == 0) return std::optional<SocketAddress>();
  const bool unspecified = outgoing_.name.ss_family == AF_UNSPEC;
  if (unspecified && socket.domain == AF_INET6) return std::optional<SocketAddress>();
  if (unspecified) outgoing_.name.ss_family = AF_INET;  // udp_sendmsg() takes it for that
  const auto parsed = parse_address(socket, outgoing_.name, outgoing_.name_size);
  if (!parsed) return std::unexpected(parsed.error());
  const Endpoint& destination = **parsed;
  switch (courses_.of(destination)) {
    case Course::refused: return std::unexpected(EPERM);
    case Course::native: return std::optional(SocketAddress(destination, socket.family()));
    case Course::captured: break;
  }
  if (!socket.is_udp()) return std::unexpected(EPERM);
  if (destination.port == 0) return std::unexpected(EINVAL);
  const auto stand_in = stand_in_of(socket, destination);
  if (!stand_in) return std::unexpected(stand_in.error());
  drop_packet_info(outgoing_.control);
  return std::optional(*stand_in);
}

/// What was read counts only while the call waits; the socket is our own copy.
std::expected<std::size_t, int> TrappedDatagrams::send_one(const TrappedCall& call,
                                                           const TrappedSocket& socket,
                                                           const Sending& sending) {
  if ((sending.flags & MSG_ZEROCOPY) != 0) return std::unexpected(ENOBUFS);
  const auto copied = copy_message(call.thread, sending.parts, outgoing_);
  if (!copied) return std::unexpected(copied.error());
  if (!context_.trap.waits(call.id)) return std::unexpected(EINTR);
  const auto target = target_of(call, socket);
  if (!target) return std::unexpected(target.error());
  iovec piece{.iov_base = outgoing_.payload.data(), .iov_len = outgoing_.payload.size()};
  msghdr message{};
  if (*target) {
    message.msg_name = const_cast<sockaddr*>((*target)->get());
    message.msg_namelen = (*target)->size();
  }
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = outgoing_.control.data();
  message.msg_controllen = outgoing_.control.size();
  const ssize_t sent =
      ::sendmsg(socket.fd.get(), &message, sending.flags | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return std::unexpected(errno);
  if (*target && socket.is_udp()) note(call, socket, false);
  return static_cast<std::size_t>(sent);
}

Outcome TrappedDatagrams::try_send(const TrappedCall& call, const TrappedSocket& socket) {
  if (call.number == SYS_sendmmsg) return send_many(call, socket);
  Sending sending{.parts = {}, .flags = flags_of(call)};
  if (call.number == SYS_sendto) {
    sending.parts = parts_of_buffer(call.arguments[1], call.arguments[2]);
    sending.parts.name = call.arguments[4];
    sending.parts.name_size = static_cast<std::uint32_t>(call.arguments[5]);
  } else {
    auto parts = read_message_parts(call.thread, call.arguments[1]);
    if (!parts) return std::unexpected(parts.error());
    sending.parts = *std::move(parts);
  }
  const auto sent = send_one(call, socket, sending);
  if (!sent) return std::unexpected(sent.error());
  return static_cast<std::int64_t>(*sent);
}

/// As many as go; an error counts when it is the first one's.
Outcome TrappedDatagrams::send_many(const TrappedCall& call, const TrappedSocket& socket) {
  const std::uint64_t messages = messages_of(call);
  for (std::uint64_t i = 0; i < messages; ++i) {
    auto parts = read_message_parts(call.thread, header_at(call, i));
    int error = parts ? 0 : parts.error();
    if (parts) {
      const auto sent =
          send_one(call, socket, {.parts = *std::move(parts), .flags = flags_of(call)});
      error = sent ? 0 : sent.error();
      if (sent && !write_length(call, i, static_cast<std::int64_t>(*sent))) error = EFAULT;
    }
    if (error != 0 && i == 0) return std::unexpected(error);
    if (error != 0) return static_cast<std::int64_t>(i);
  }
  return static_cast<std::int64_t>(messages);
}

CallAnswer TrappedDatagrams::send(const TrappedCall& call, TrappedSocket socket) {
  const Outcome outcome = try_send(call, socket);
  const bool would_wait = !outcome && outcome.error() == EAGAIN;
  if (!would_wait || (flags_of(call) & MSG_DONTWAIT) != 0 || !socket.is_blocking()) {
    return answer_of(outcome);
  }
  context_.worker.run(send_later(call, std::move(socket)));
  return CallAnswer::later();
}

Task<> TrappedDatagrams::send_later(TrappedCall call, TrappedSocket socket) {
  EventLoop& loop = *context_.worker.loop;
  const Tick due = loop.in(kSendForMs);
  Outcome outcome = std::unexpected(EAGAIN);
  while (!outcome && outcome.error() == EAGAIN && !context_.closing && loop.now_tick() < due) {
    if (co_await loop.sleep(kSendAgainMs) == Wake::cancelled) break;
    outcome = try_send(call, socket);
  }
  give_answer(context_.trap, call.id, answer_of(outcome));
}

CallAnswer TrappedDatagrams::receive(const TrappedCall& call) {
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket) return CallAnswer::error(socket.error());
  const bool ours =
      socket->is_internet() && socket->is_udp() && sockets_.find(socket->cookie()) != nullptr;
  if (!ours) return CallAnswer::let_run();
  const Outcome outcome = try_receive(call, *socket);
  const bool would_wait = !outcome && outcome.error() == EAGAIN;
  if (!would_wait || (flags_of(call) & MSG_DONTWAIT) != 0 || !socket->is_blocking()) {
    return answer_of(outcome);
  }
  if (waiting_ >= kMostWaiting) return CallAnswer::error(ENOBUFS);
  ++waiting_;
  context_.worker.run(receive_later(call, *std::move(socket)));
  return CallAnswer::later();
}

/// A signal calls the program away without a word to us: hence the looks at whether it waits.
Task<> TrappedDatagrams::receive_later(TrappedCall call, TrappedSocket socket) {
  EventLoop& loop = *context_.worker.loop;
  const auto timeout = socket.timeout_ms(SO_RCVTIMEO);
  const Tick due = timeout ? loop.in(*timeout) : TimerWheel::kNever;
  const auto slot = loop.watch(socket.fd.get(), 0);
  Outcome outcome = std::unexpected(slot ? EAGAIN : ENOBUFS);
  while (slot && !context_.closing && context_.trap.waits(call.id)) {
    (*slot)->clear(Slot::kReadable);
    outcome = try_receive(call, socket);
    if (outcome || outcome.error() != EAGAIN || loop.now_tick() >= due) break;
    const Tick left = due == TimerWheel::kNever ? kLookAgainMs : (due - loop.now_tick()) * kTickMs;
    const auto wait = static_cast<std::uint32_t>(std::min<Tick>(left, kLookAgainMs));
    if (co_await loop.readable(**slot, wait) == Wake::cancelled) break;
  }
  if (slot) loop.unwatch(socket.fd.get());
  --waiting_;
  give_answer(context_.trap, call.id, answer_of(outcome));
}

Outcome TrappedDatagrams::try_receive(const TrappedCall& call, const TrappedSocket& socket) {
  if (call.number == SYS_recvmmsg) return receive_many(call, socket);
  if (call.number == SYS_recvmsg) {
    return receive_message(call, socket, call.arguments[1], flags_of(call));
  }
  return receive_one(call, socket);
}

/// recvfrom().
Outcome TrappedDatagrams::receive_one(const TrappedCall& call, const TrappedSocket& socket) {
  if (!context_.trap.waits(call.id)) return std::unexpected(EINTR);
  const MessageParts parts = parts_of_buffer(call.arguments[1], call.arguments[2]);
  const ssize_t received =
      ::recvmsg(socket.fd.get(), incoming_.prepare(parts), flags_of(call) | MSG_DONTWAIT);
  if (received < 0) return std::unexpected(errno);
  int error = write_payload(call.thread, parts, incoming_, static_cast<std::size_t>(received));
  const auto source = shown_source(incoming_);
  if (error == 0 && source) {
    error = write_address(socket, call.thread, *source, call.arguments[4], call.arguments[5]);
  }
  if (error != 0) return std::unexpected(error);
  return received;
}

Outcome TrappedDatagrams::receive_message(const TrappedCall& call, const TrappedSocket& socket,
                                          std::uint64_t header, int flags) {
  const auto parts = read_message_parts(call.thread, header);
  if (!parts) return std::unexpected(parts.error());
  if (!context_.trap.waits(call.id)) return std::unexpected(EINTR);
  const ssize_t received =
      ::recvmsg(socket.fd.get(), incoming_.prepare(*parts), flags | MSG_DONTWAIT);
  if (received < 0) return std::unexpected(errno);
  int error = write_payload(call.thread, *parts, incoming_, static_cast<std::size_t>(received));
  const auto source = shown_source(incoming_);
  if (error == 0) {
    const bool wanted = source && parts->name != 0;
    error =
        write_header(socket, call.thread, header, *parts, incoming_, wanted ? &*source : nullptr);
  }
  if (error != 0) return std::unexpected(error);
  return received;
}

Outcome TrappedDatagrams::receive_many(const TrappedCall& call, const TrappedSocket& socket) {
  const std::uint64_t messages = messages_of(call);
  const int flags = flags_of(call) & ~MSG_WAITFORONE;
  for (std::uint64_t i = 0; i < messages; ++i) {
    const Outcome received = receive_message(call, socket, header_at(call, i), flags);
    const bool written = received && write_length(call, i, *received);
    if (!written && i == 0) return std::unexpected(received ? EFAULT : received.error());
    if (!written) return static_cast<std::int64_t>(i);
  }
  return static_cast<std::int64_t>(messages);
}

std::optional<Endpoint> TrappedDatagrams::shown_source(const IncomingMessage& message) {
  if (message.header.msg_namelen == 0) return std::nullopt;
  auto source = Endpoint::from(message.name);
  if (!source) return std::nullopt;
  if (const auto meant = stand_ins_->meant_by(*source)) return meant;
  return source;
}

/// `anew`: its own address may be another than before.
void TrappedDatagrams::note(const TrappedCall& call, const TrappedSocket& socket, bool anew) {
  const std::uint64_t cookie = socket.cookie();
  if (sockets_.find(cookie) != nullptr && !anew) return;
  sockets_.set(cookie, true);
  auto source = local_endpoint(socket.fd.get());
  if (!source) return;
  if (source->address.is_any()) source->address = Address::loopback(Family::ipv4);
  stand_ins_->add_client(*source);
  context_.owners.note(Protocol::udp, *source, call.thread);
}

}  // namespace shunt
