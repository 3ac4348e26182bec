// SPDX-License-Identifier: GPL-2.0-only
#include "egress/proxy_link.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "egress/race.h"
#include "egress/stream_io.h"
#include "net/socket.h"

namespace shunt {
namespace {

using std::unexpected;

constexpr std::size_t kReceiveBytes = 2048;  // an answer with room for a server's first words

// The destination is not to blame for a proxy that cannot be reached, and the log should say so.
ConnectFailure cannot_reach(const ProxyServer& server, ConnectFailure failure) {
  if (failure.reason == ConnectReason::cancelled) return failure;
  std::string why = failure.detail;
  if (why.empty()) {
    why = failure.os_error != 0 ? strerrordesc_np(failure.os_error) : reason_text(failure.reason);
  }
  failure.detail = "cannot reach " + server.name + ": " + why;
  if (failure.reason != ConnectReason::resources) failure.reason = ConnectReason::proxy_error;
  failure.via = {};  // of a hop before
  return failure;
}

Upstream upstream_from(Dialled dialled) {
  return {.socket = std::move(dialled.socket),
          .reported = std::move(dialled.reported),
          .early_data = {}};
}

}  // namespace

Task<std::expected<ProxyLink, ConnectFailure>> ProxyLink::open(EventLoop& loop,
                                                               const ProxyServer& server,
                                                               const Flow& flow) {
  auto link = co_await open_plainly(loop, server, flow);
  if (!link || server.tls == nullptr) co_return link;
  if (!link->received_.empty()) co_return unexpected(link->broken("spoke before TLS began"));
  const Deadline deadline(flow.dial_ms(server.options.handshake_timeout_ms));
  auto done = co_await server.tls->handshake(loop, link->upstream_, deadline);
  if (!done) co_return unexpected(cannot_reach(server, std::move(done).error()));
  co_return link;
}

Task<std::expected<void, ConnectFailure>> ProxyLink::greet(EventLoop& loop,
                                                           const ProxyServer& server,
                                                           Clock::time_point by) {
  Flow nobodys;
  nobodys.dial_by = by;
  const auto link = co_await open(loop, server, nobodys);
  if (!link) co_return unexpected(link.error());
  co_return std::expected<void, ConnectFailure>();
}

Task<std::expected<ProxyLink, ConnectFailure>> ProxyLink::open_plainly(EventLoop& loop,
                                                                       const ProxyServer& server,
                                                                       const Flow& flow) {
  if (server.through != nullptr) co_return co_await open_through(loop, server, flow);
  const AddressBook::Addresses fresh = server.book ? server.book->current() : nullptr;
  const std::vector<Endpoint>& addresses = fresh ? *fresh : server.addresses;
  const auto first = server.last_good.load(std::memory_order_relaxed) % addresses.size();
  const auto order = attempt_order(addresses, first);
  const std::uint32_t timeout_ms = flow.dial_ms(server.options.connect_timeout_ms);
  auto won = co_await race(loop, order, server.options, timeout_ms, HandshakeAck::with_data);
  if (!won) {
    const bool stopping = won.error().reason == ConnectReason::cancelled;
    if (server.book != nullptr && !stopping) server.book->look_again();
    co_return unexpected(cannot_reach(server, std::move(won).error()));
  }
  if (won->address != addresses[first]) {
    const auto index = std::ranges::find(addresses, won->address) - addresses.begin();
    server.last_good.store(static_cast<std::size_t>(index), std::memory_order_relaxed);
  }
  send_without_delay(won->dialled.socket.fd());
  co_return ProxyLink(loop, server, won->address, upstream_from(std::move(won->dialled)));
}

// For the hop before, the server is a destination like any other. One attempt follows another:
// racing them would be as many connections through all the hops. A hop that may resolve names (a
// group has members of both kinds) is given the name once; then it is given the addresses.
Task<std::expected<ProxyLink, ConnectFailure>> ProxyLink::open_through(EventLoop& loop,
                                                                       const ProxyServer& server,
                                                                       const Flow& flow) {
  Flow to_server = flow;
  to_server.protocol = Protocol::tcp;
  const AddressBook::Addresses fresh = server.book ? server.book->current() : nullptr;
  Hints hints{.host = server.host, .source = NameSource::none};
  const Deadline deadline(flow.dial_ms(server.options.connect_timeout_ms));
  ConnectFailure last;
  for (const Endpoint& address : fresh ? *fresh : server.addresses) {
    to_server.original_destination = address;
    auto upstream = co_await server.through->connect(loop, to_server, hints);
    if (upstream) {
      if (upstream->layer == nullptr) send_without_delay(upstream->socket.fd());
      upstream->via = {};  // the log names the last hop's way out
      const WayOut* member = std::exchange(upstream->member, nullptr);
      ProxyLink link(loop, server, address, std::move(*upstream));
      link.hop_ = member != nullptr ? member : server.through.get();
      co_return link;
    }
    last = std::move(upstream).error();
    if (last.reason == ConnectReason::cancelled) co_return unexpected(std::move(last));
    if (deadline.left_ms() == 0) break;
    hints.host.clear();
  }
  if (server.book != nullptr) server.book->look_again();
  co_return unexpected(cannot_reach(server, std::move(last)));
}

Task<std::expected<void, ConnectFailure>> ProxyLink::send(std::string_view bytes,
                                                          Deadline deadline) {
  auto sent = co_await send_all(*loop_, upstream_, bytes, deadline);
  if (!sent) co_return unexpected(in_our_words(std::move(sent).error()));
  co_return sent;
}

Task<std::expected<void, ConnectFailure>> ProxyLink::receive(Deadline deadline) {
  const std::size_t before = received_.size();
  received_.resize(before + kReceiveBytes);
  auto count =
      co_await receive_some(*loop_, upstream_, received_.data() + before, kReceiveBytes, deadline);
  received_.resize(before + count.value_or(0));
  if (!count) co_return unexpected(in_our_words(std::move(count).error()));
  if (*count == 0) co_return unexpected(lost(0));
  co_return Expected<void>();
}

ConnectFailure ProxyLink::broken(std::string_view what, ConnectReason reason) const {
  return {.reason = reason, .os_error = 0, .detail = server_->name + " " + std::string(what)};
}

ConnectFailure ProxyLink::lost(int os_error) const {
  auto failure = broken("closed the connection before it answered", ConnectReason::reset);
  failure.os_error = os_error;
  return failure;
}

ConnectFailure ProxyLink::in_our_words(ConnectFailure failure) const {
  switch (failure.reason) {
    case ConnectReason::cancelled: return failure;
    case ConnectReason::timed_out:
      if (failure.os_error != 0) break;
      return broken("did not answer in time", ConnectReason::timed_out);
    default: break;
  }
  return lost(failure.os_error);
}

// A copy of the early data, most often empty: the buffer would be held as long as the flow.
Upstream ProxyLink::into_upstream() && {
  upstream_.early_data = std::string(received());
  return std::move(upstream_);
}

// A ready bit stays until a system call answers EAGAIN, and the last receive() had no need of one.
AssociationControl ProxyLink::into_control() && {
  char next = 0;
  if (::recv(upstream_.socket.fd(), &next, 1, MSG_PEEK) < 0 && errno == EAGAIN) {
    upstream_.socket.slot().clear(Slot::kReadable);
  }
  return {.socket = std::move(upstream_.socket), .reported = std::move(upstream_.reported)};
}

}  // namespace shunt
