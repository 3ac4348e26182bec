// SPDX-License-Identifier: GPL-2.0-only
#include "egress/stream_io.h"

#include <sys/socket.h>

#include <cerrno>

namespace shunt {
namespace {

using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

}  // namespace

Task<Expected<void>> send_all(EventLoop& loop, Upstream& upstream, std::string_view bytes,
                              Deadline deadline, int flags) {
  Slot& slot = upstream.socket.slot();
  while (!bytes.empty()) {
    const auto sent = upstream.layer != nullptr ? upstream.layer->send(bytes.data(), bytes.size())
                                                : ::send(upstream.socket.fd(), bytes.data(),
                                                         bytes.size(), MSG_NOSIGNAL | flags);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return unexpected(failure_from_errno(errno));
    slot.clear(Slot::kWritable);
    const auto left = deadline.left_ms();
    if (left == 0) co_return unexpected(failure_from_wake(Wake::timeout));
    const Wake wake = co_await loop.writable(slot, left);
    if (wake != Wake::ready) co_return unexpected(failure_from_wake(wake));
  }
  co_return Expected<void>();
}

// A layer is tried before it is waited for: it may hold bytes that the socket knows nothing of.
Task<Expected<std::size_t>> receive_some(EventLoop& loop, Upstream& upstream, char* buffer,
                                         std::size_t size, Deadline deadline) {
  Slot& slot = upstream.socket.slot();
  bool try_first = upstream.layer != nullptr;
  for (;;) {
    const auto left = deadline.left_ms();
    if (left == 0) co_return unexpected(failure_from_wake(Wake::timeout));
    if (!try_first) {
      const Wake wake = co_await loop.readable(slot, left);
      if (wake != Wake::ready) co_return unexpected(failure_from_wake(wake));
    }
    try_first = false;
    const auto count = upstream.layer != nullptr ? upstream.layer->receive(buffer, size)
                                                 : ::recv(upstream.socket.fd(), buffer, size, 0);
    if (count >= 0) co_return static_cast<std::size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return unexpected(failure_from_errno(errno));
    slot.clear(Slot::kReadable);
  }
}

}  // namespace shunt
