// SPDX-License-Identifier: GPL-2.0-only
#include "egress/proxy_link.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace shunt {
namespace {

using std::unexpected;

constexpr std::size_t kReceiveBytes = 2048;  // an answer with room for a server's first words

// The destination is not to blame for a proxy that cannot be reached, and the log should say so.
ConnectFailure cannot_reach(const ProxyServer& server, ConnectFailure failure) {
  if (failure.reason == ConnectReason::cancelled) return failure;
  failure.detail = "cannot reach " + server.name + ": " +
                   (failure.os_error != 0 ? std::string(strerrordesc_np(failure.os_error))
                                          : std::string(reason_text(failure.reason)));
  if (failure.reason != ConnectReason::resources) failure.reason = ConnectReason::proxy_error;
  return failure;
}

}  // namespace

Task<std::expected<ProxyLink, ConnectFailure>> ProxyLink::open(EventLoop& loop,
                                                               const ProxyServer& server) {
  const std::size_t count = server.addresses.size();
  const std::size_t first = server.last_good.load(std::memory_order_relaxed);
  const Deadline deadline(server.options.connect_timeout_ms);
  ConnectFailure last;
  for (std::size_t tried = 0; tried < count; ++tried) {
    const std::size_t index = (first + tried) % count;
    const Endpoint address = server.addresses[index];
    // A silent address leaves the others their share of the time.
    const auto share = deadline.left_ms() / static_cast<std::uint32_t>(count - tried);
    auto dialled = co_await dial_tcp(loop, address, server.options, share);
    if (dialled) {
      if (tried != 0) server.last_good.store(index, std::memory_order_relaxed);
      co_return ProxyLink(loop, server, address, std::move(*dialled));
    }
    last = std::move(dialled).error();
    if (last.reason == ConnectReason::cancelled) break;
  }
  co_return unexpected(cannot_reach(server, std::move(last)));
}

Task<std::expected<void, ConnectFailure>> ProxyLink::send(std::string_view bytes,
                                                          Deadline deadline) {
  while (!bytes.empty()) {
    const auto sent = ::send(dialled_.socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return unexpected(lost(errno));
    dialled_.socket.slot().clear(Slot::kWritable);
    const auto left = deadline.left_ms();
    if (left == 0) co_return unexpected(silent(Wake::timeout));
    const Wake wake = co_await loop_->writable(dialled_.socket.slot(), left);
    if (wake != Wake::ready) co_return unexpected(silent(wake));
  }
  co_return Expected<void>();
}

Task<std::expected<void, ConnectFailure>> ProxyLink::receive(Deadline deadline) {
  const std::size_t before = received_.size();
  for (;;) {
    const auto left = deadline.left_ms();
    if (left == 0) co_return unexpected(silent(Wake::timeout));
    const Wake wake = co_await loop_->readable(dialled_.socket.slot(), left);
    if (wake != Wake::ready) co_return unexpected(silent(wake));

    received_.resize(before + kReceiveBytes);
    const auto count = ::recv(dialled_.socket.fd(), received_.data() + before, kReceiveBytes, 0);
    const int error = errno;
    received_.resize(before + (count > 0 ? static_cast<std::size_t>(count) : 0));
    if (count > 0) co_return Expected<void>();
    if (count == 0) co_return unexpected(lost(0));
    if (error == EINTR) continue;
    if (error != EAGAIN) co_return unexpected(lost(error));
    dialled_.socket.slot().clear(Slot::kReadable);
  }
}

ConnectFailure ProxyLink::broken(std::string_view what, ConnectReason reason) const {
  return {.reason = reason, .os_error = 0, .detail = server_->name + " " + std::string(what)};
}

ConnectFailure ProxyLink::lost(int os_error) const {
  auto failure = broken("closed the connection before it answered", ConnectReason::reset);
  failure.os_error = os_error;
  return failure;
}

ConnectFailure ProxyLink::silent(Wake wake) const {
  if (wake == Wake::cancelled) return failure_from_wake(wake);
  return broken("did not answer in time", ConnectReason::timed_out);
}

// A copy of the early data, most often empty: the buffer would be held as long as the flow.
Upstream ProxyLink::into_upstream() && {
  return {.socket = std::move(dialled_.socket),
          .reported = std::move(dialled_.reported),
          .early_data = std::string(received())};
}

// A ready bit stays until a system call answers EAGAIN, and the last receive() had no need of one.
Dialled ProxyLink::into_control() && {
  char next = 0;
  if (::recv(dialled_.socket.fd(), &next, 1, MSG_PEEK) < 0 && errno == EAGAIN) {
    dialled_.socket.slot().clear(Slot::kReadable);
  }
  return std::move(dialled_);
}

}  // namespace shunt
