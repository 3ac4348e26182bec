// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_datagrams.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <utility>

#include "base/counters.h"
#include "net/socket.h"
#include "net/socket_state.h"

namespace shunt {
namespace {

/// IP_UNICAST_IF: as SO_BINDTODEVICE, of what is sent.
bool has_unicast_interface(const TrappedSocket& socket) {
  const bool v6 = socket.family() == Family::ipv6;
  std::uint32_t index = 0;
  socklen_t size = sizeof index;
  return ::getsockopt(socket.fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                      v6 ? IPV6_UNICAST_IF : IP_UNICAST_IF, &index, &size) == 0 &&
         index != 0;
}

/// Of a UDP socket: its port goes too, and its address, where the program did not bind them.
void disconnect(const TrappedSocket& socket) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  (void)::connect(socket.fd.get(), &none, sizeof none);
}

/// A peer of IPv6 gives a socket an address that reaches no stand-in: it leaves such a one. Yields
/// which it was.
std::optional<SocketAddress> leave_ipv6_peer(const TrappedSocket& socket) {
  if (socket.family() != Family::ipv6) return std::nullopt;
  const auto peer = peer_endpoint(socket.fd.get());
  if (!peer || peer->address.is_v4()) return std::nullopt;
  disconnect(socket);
  return SocketAddress(*peer, Family::ipv6);
}

int connect_to(const TrappedSocket& socket, const SocketAddress& address) {
  return ::connect(socket.fd.get(), address.get(), address.size()) == 0 ? 0 : errno;
}

}  // namespace

CallAnswer TrappedDatagrams::connect(const TrappedCall& call, const TrappedSocket& socket,
                                     const Endpoint& destination) {
  const auto left = leave_ipv6_peer(socket);
  const auto stand_in = stand_in_of(socket, destination);
  const int error = stand_in ? connect_to(socket, *stand_in) : stand_in.error();
  if (error == 0) {
    note(call.thread, socket);
  } else if (left) {
    (void)connect_to(socket, *left);
  }
  return CallAnswer::error(error);
}

CallAnswer TrappedDatagrams::connect_natively(const TrappedCall& call, const TrappedSocket& socket,
                                              const SocketAddress& address) {
  const auto left = leave_stand_in(socket);
  const int error = connect_to(socket, address);
  // It keeps its peer, as any socket whose connect() fails; its own port may be another one.
  if (error != 0 && left && connect_to(socket, *left) == 0) note(call.thread, socket);
  return CallAnswer::error(error);
}

/// Yields which it was.
std::optional<SocketAddress> TrappedDatagrams::leave_stand_in(const TrappedSocket& socket) {
  if (socket.family() != Family::ipv6 || !is_at_stand_in(socket)) return std::nullopt;
  const auto peer = peer_endpoint(socket.fd.get());
  if (!peer) return std::nullopt;
  disconnect(socket);
  return SocketAddress(*peer, Family::ipv6);
}

bool TrappedDatagrams::is_at_stand_in(const TrappedSocket& socket) {
  const auto peer = peer_endpoint(socket.fd.get());
  return peer && stand_ins_->meant_by(*peer).has_value();
}

std::expected<SocketAddress, int> TrappedDatagrams::stand_in_of(const TrappedSocket& socket,
                                                                const Endpoint& destination) {
  const int fd = socket.fd.get();
  if (is_bound_to_device(fd) || has_unicast_interface(socket)) {
    return std::unexpected(EHOSTUNREACH);
  }
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

std::expected<TrappedDatagrams::Way, int> TrappedDatagrams::way_of(const TrappedSocket& socket,
                                                                   const sockaddr_storage& address,
                                                                   std::uint32_t size) {
  if (size < sizeof(sa_family_t)) return std::unexpected(EINVAL);
  const bool unspecified = address.ss_family == AF_UNSPEC;
  if (unspecified && socket.domain == AF_INET6) return Way{};
  sockaddr_storage named = address;
  if (unspecified) named.ss_family = AF_INET;  // udp_sendmsg() takes it for that
  const auto parsed = parse_address(socket, named, size);
  if (!parsed) return std::unexpected(parsed.error());
  const Endpoint& destination = **parsed;
  if (!context_.network.has(socket.fd.get())) {
    const int error = context_.network.refusal(destination);
    if (error != 0) return std::unexpected(error);
    return Way{.address = SocketAddress(destination, socket.family())};
  }
  switch (courses_.of(destination)) {
    case Course::refused: return std::unexpected(EPERM);
    case Course::native: return Way{.address = SocketAddress(destination, socket.family())};
    case Course::captured: break;
  }
  if (!socket.is_udp()) return std::unexpected(EPERM);
  if (destination.port == 0) return std::unexpected(EINVAL);
  const auto stand_in = stand_in_of(socket, destination);
  if (!stand_in) return std::unexpected(stand_in.error());
  return Way{.address = *stand_in, .captured = true};
}

/// What was read counts only while the call waits; the socket is our own copy.
std::expected<std::size_t, int> TrappedDatagrams::send_one(const TrappedCall& call,
                                                           const TrappedSocket& socket,
                                                           const Sending& sending) {
  if ((sending.flags & MSG_ZEROCOPY) != 0) return std::unexpected(ENOBUFS);
  const auto copied = copy_message(call.thread, sending.parts, outgoing_);
  if (!copied) return std::unexpected(copied.error());
  if (!context_.calls.waits(call.id)) return std::unexpected(EINTR);
  std::expected<Way, int> way;
  if (outgoing_.has_name) way = way_of(socket, outgoing_.name, outgoing_.name_size);
  if (!way) return std::unexpected(way.error());
  const bool leads_to_us =
      way->captured || (!way->address && !outgoing_.control.empty() && is_at_stand_in(socket));
  if (leads_to_us && !drop_packet_info(outgoing_.control)) return std::unexpected(EINVAL);
  iovec piece{.iov_base = outgoing_.payload.data(), .iov_len = outgoing_.payload.size()};
  msghdr message{};
  if (way->address) {
    message.msg_name = const_cast<sockaddr*>(way->address->get());
    message.msg_namelen = way->address->size();
  }
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = outgoing_.control.data();
  message.msg_controllen = outgoing_.control.size();
  const ssize_t sent =
      ::sendmsg(socket.fd.get(), &message, sending.flags | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return std::unexpected(errno);
  if (way->captured) note(call.thread, socket);
  digest_ = outgoing_.digest();
  return static_cast<std::size_t>(sent);
}

/// Of sendmmsg() from the message `first` on.
CallOutcome TrappedDatagrams::try_send(const TrappedCall& call, const TrappedSocket& socket,
                                       std::uint64_t first) {
  if (call.number == SYS_sendmmsg) return send_many(call, socket, first);
  Sending sending{.parts = {}, .flags = message_flags(call)};
  if (call.number == SYS_sendto) {
    sending.parts = parts_of_buffer(call.arguments[1], call.arguments[2]);
    sending.parts.name = call.arguments[4];
    sending.parts.name_size = static_cast<std::uint32_t>(call.arguments[5]);
  } else {
    auto parts = read_sent_parts(call.thread, call.arguments[1]);
    if (!parts) return std::unexpected(parts.error());
    sending.parts = *std::move(parts);
  }
  const auto sent = send_one(call, socket, sending);
  if (!sent) return std::unexpected(sent.error());
  MessageTurn(context_).add(*sent);
  return static_cast<std::int64_t>(*sent);
}

/// As many as go in one turn; yields how many were sent in all. An error counts when it is the
/// first one's.
CallOutcome TrappedDatagrams::send_many(const TrappedCall& call, const TrappedSocket& socket,
                                        std::uint64_t first) {
  const std::uint64_t messages = messages_of(call);
  MessageTurn turn(context_);
  std::uint64_t i = first;
  for (; i < messages && !turn.over(); ++i) {
    auto parts = read_sent_parts(call.thread, header_at(call, i));
    int error = parts ? 0 : parts.error();
    if (parts) {
      const auto sent =
          send_one(call, socket, {.parts = *std::move(parts), .flags = message_flags(call)});
      error = sent ? 0 : sent.error();
      if (sent && !write_length(call, i, static_cast<std::int64_t>(*sent))) error = EFAULT;
      turn.add(sent.value_or(0));
    }
    if (error != 0 && i == first) return std::unexpected(error);
    if (error != 0) break;
  }
  return static_cast<std::int64_t>(i);
}

/// A non-blocking socket's sendmmsg() may stop after one turn: EAGAIN could have stopped it, too.
CallAnswer TrappedDatagrams::send(const TrappedCall& call, TrappedSocket socket) {
  const std::uint64_t cookie = socket.cookie();
  if (const auto done = context_.repeated.take(call, cookie); done && was_sent(call, *done)) {
    tell(context_, call, cookie, done->value, done->digest);
    return CallAnswer::later();
  }
  if (goes_on(call, cookie)) return CallAnswer::later();
  const CallOutcome outcome = try_send(call, socket, 0);
  const bool partly = outcome && call.number == SYS_sendmmsg &&
                      static_cast<std::uint64_t>(*outcome) < messages_of(call);
  const bool would_wait = partly || (!outcome && outcome.error() == EAGAIN);
  if (!would_wait || (message_flags(call) & MSG_DONTWAIT) != 0 || !socket.is_blocking()) {
    tell(context_, call, cookie, outcome, digest_);
  } else {
    const RepeatedCalls::Done done{.value = outcome.value_or(0), .digest = digest_};
    context_.worker.run(send_later(call, std::move(socket), cookie, done));
  }
  return CallAnswer::later();
}

/// A signal called its thread away from one that is not over. Other messages in the same place are
/// a call of their own.
bool TrappedDatagrams::goes_on(const TrappedCall& call, std::uint64_t cookie) {
  const auto done = context_.repeated.under_way(call, cookie);
  if (!done || (done->value > 0 && !was_sent(call, *done))) return false;
  return context_.repeated.join(call, cookie);
}

/// Goes on after what is done, which of sendmmsg() is a number of messages.
Task<> TrappedDatagrams::send_later(TrappedCall first, TrappedSocket socket, std::uint64_t cookie,
                                    RepeatedCalls::Done done) {
  EventLoop& loop = *context_.worker.loop;
  RepeatedCalls::Wait wait(context_.repeated, loop, first, cookie);
  wait.note(done);
  const bool many = first.number == SYS_sendmmsg;
  Tick due = loop.in(limits::kDatagramSendMs);
  CallOutcome outcome = std::unexpected(EAGAIN);
  while (!context_.closing && !loop.cancelled() && !wait.is_over()) {
    outcome = try_send(wait.call(), socket, static_cast<std::uint64_t>(done.value));
    if (outcome) {
      done = {.value = *outcome, .digest = digest_};
      if (!many || static_cast<std::uint64_t>(done.value) >= messages_of(first)) break;
      wait.note(done);
      due = loop.in(limits::kDatagramSendMs);
      (void)co_await loop.yield();
    } else {
      const bool away = outcome.error() == EINTR;
      const bool in_vain = outcome.error() == EAGAIN && loop.now_tick() >= due;
      if (in_vain) count(Counter::udp_sends_given_up);
      if (in_vain || (!away && outcome.error() != EAGAIN)) break;
      (void)co_await loop.sleep(limits::kDatagramSendAgainMs);
    }
  }
  if (done.value > 0) outcome = done.value;
  tell(context_, wait.call(), cookie, outcome, done.digest);
}

bool TrappedDatagrams::was_sent(const TrappedCall& call, const RepeatedCalls::Done& done) {
  MessageParts parts;
  if (call.number == SYS_sendto) {
    parts = parts_of_buffer(call.arguments[1], call.arguments[2]);
    parts.name = call.arguments[4];
    parts.name_size = static_cast<std::uint32_t>(call.arguments[5]);
  } else {
    const bool many = call.number == SYS_sendmmsg;
    if (many && done.value <= 0) return false;
    const auto last = static_cast<std::uint64_t>(done.value - 1);
    auto read = read_sent_parts(call.thread, many ? header_at(call, last) : call.arguments[1]);
    if (!read) return false;
    parts = *std::move(read);
  }
  return copy_message(call.thread, parts, outgoing_).has_value() &&
         outgoing_.digest() == done.digest;
}

/// Any socket whose process cannot be looked into, too: nothing is decided by it.
CallAnswer TrappedDatagrams::receive(const TrappedCall& call) {
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket || !socket->is_internet() || !socket->is_udp()) return CallAnswer::let_run();
  const std::uint64_t cookie = socket->cookie();
  if (sockets_.find(cookie) == nullptr) return CallAnswer::let_run();
  return receives_.receive(call, *std::move(socket), cookie);
}

/// Its own address may be another than before: bound anew, or given up and taken again.
void TrappedDatagrams::note(pid_t thread, const TrappedSocket& socket) {
  auto source = local_endpoint(socket.fd.get());
  if (!source) return;
  if (source->address.is_any()) source->address = Address::loopback(Family::ipv4);
  const std::uint64_t cookie = socket.cookie();
  const Endpoint* const known = sockets_.find(cookie);
  if (known != nullptr && *known == *source) return;
  if (known == nullptr && sockets_.full()) count(Counter::udp_sockets_forgotten);
  sockets_.set(cookie, *source);
  stand_ins_->add_client(*source);
  context_.owners.note(Protocol::udp, *source, thread);
}

}  // namespace shunt
