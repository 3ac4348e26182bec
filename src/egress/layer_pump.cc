// SPDX-License-Identifier: GPL-2.0-only
#include "egress/layer_pump.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "net/socket.h"

namespace shunt {
namespace {

using std::unexpected;

// Read into before each send, never held across a wait.
char* scratch() {
  thread_local char buffer[LayerPump::kReadBytes];
  return buffer;
}

}  // namespace

std::expected<std::unique_ptr<LayerPump>, ConnectFailure> LayerPump::create(EventLoop& loop,
                                                                            Upstream upstream) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
    return unexpected(failure_from_errno(errno));
  }
  UniqueFd near_fd(fds[0]);
  UniqueFd far_fd(fds[1]);
  for (const int fd : fds) {
    (void)set_option(fd, SOL_SOCKET, SO_SNDBUF, kPairBufferBytes, "SO_SNDBUF");
    // TLS has no urgent data: such a byte goes along as one of the others.
    (void)set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1, "SO_OOBINLINE");
  }
  auto near = WatchedFd::create(loop, std::move(near_fd), Slot::kWritable);
  if (!near) return unexpected(failure_from_errno(near.error().os_error));
  auto far = WatchedFd::create(loop, std::move(far_fd), Slot::kWritable);
  if (!far) return unexpected(failure_from_errno(far.error().os_error));
  return std::unique_ptr<LayerPump>(
      new LayerPump(loop, std::move(upstream), std::move(*near), std::move(*far)));
}

Task<> LayerPump::run() {
  co_await both(carry_up(), carry_down());
  if (broken_ && upstream_broke_) reset_near_end();
  far_.reset();
}

void LayerPump::relay_ended(bool in_order) {
  near_.reset();
  if (in_order) {
    linger_.emplace(kLingerMs);
    // Those who wait look again, and from now on wait no longer than that.
    if (far_.valid()) loop_.cancel(far_.slot());
    loop_.cancel(upstream_.socket.slot());
  } else {
    break_off();
  }
}

void LayerPump::break_off() {
  if (broken_) return;
  broken_ = true;
  reset_on_close(upstream_.socket.fd());
  if (far_.valid()) loop_.cancel(far_.slot());
  loop_.cancel(upstream_.socket.slot());
}

// A UNIX socket whose peer closes with data unread gives ECONNRESET after what was sent to it
// (unix_release_sock() in net/unix/af_unix.c); so one byte is left unread. Where the near end has
// sent its FIN already, its owner finds out by upstream_broke().
void LayerPump::reset_near_end() {
  if (near_.valid()) (void)::send(near_.fd(), "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// False when there is nothing more to be done.
Task<bool> LayerPump::ready(Slot& slot, std::uint8_t bit) {
  if (broken_) co_return false;
  Wake wake = Wake::ready;
  if (linger_ && linger_->left_ms() == 0) {
    wake = Wake::timeout;
  } else if (linger_ && bit == Slot::kReadable) {
    wake = co_await loop_.readable(slot, linger_->left_ms());
  } else if (linger_) {
    wake = co_await loop_.writable(slot, linger_->left_ms());
  } else if (bit == Slot::kReadable) {
    wake = co_await loop_.readable(slot);
  } else {
    wake = co_await loop_.writable(slot);
  }
  if (wake == Wake::timeout || loop_.cancelled()) break_off();
  co_return !broken_;
}

Task<> LayerPump::carry_up() {
  for (int reads = 1; !broken_; ++reads) {
    const auto count = ::recv(far_.fd(), scratch(), kReadBytes, 0);
    if (count > 0) {
      const bool sent = co_await send_up({scratch(), static_cast<std::size_t>(count)});
      if (!sent) co_return;
    } else if (count == 0) {
      (void)co_await say_end();
      co_return;
    } else if (errno == EAGAIN) {
      far_.slot().clear(Slot::kReadable);
      const bool more = co_await ready(far_.slot(), Slot::kReadable);
      if (!more) co_return;
    } else if (errno != EINTR) {  // the relay's end is gone, with data unread
      co_return break_off();
    }
    if (reads % kTurnReads == 0) (void)co_await loop_.yield();
  }
}

Task<bool> LayerPump::send_up(std::string_view bytes) {
  std::string unsent;
  while (!bytes.empty()) {
    const auto sent = upstream_.layer->send(bytes.data(), bytes.size());
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno != EAGAIN) {
      upstream_broke_ = true;
      break_off();
      co_return false;
    }
    if (unsent.empty()) bytes = unsent = std::string(bytes);  // the scratch is others' meanwhile
    upstream_.socket.slot().clear(Slot::kWritable);
    const bool room = co_await ready(upstream_.socket.slot(), Slot::kWritable);
    if (!room) co_return false;
  }
  co_return true;
}

Task<bool> LayerPump::say_end() {
  while (upstream_.layer->finish_sending() != 0) {
    if (errno != EAGAIN) {
      upstream_broke_ = true;
      break_off();
      co_return false;
    }
    upstream_.socket.slot().clear(Slot::kWritable);
    const bool room = co_await ready(upstream_.socket.slot(), Slot::kWritable);
    if (!room) co_return false;
  }
  co_return true;
}

Task<> LayerPump::carry_down() {
  for (int reads = 1; !broken_; ++reads) {
    const auto count = upstream_.layer->receive(scratch(), kReadBytes);
    if (count > 0) {
      const bool sent = co_await send_down({scratch(), static_cast<std::size_t>(count)});
      if (!sent) co_return;
    } else if (count == 0) {
      ::shutdown(far_.fd(), SHUT_WR);
      co_return;
    } else if (errno == EAGAIN) {
      upstream_.socket.slot().clear(Slot::kReadable);
      const bool more = co_await ready(upstream_.socket.slot(), Slot::kReadable);
      if (!more) co_return;
    } else {
      upstream_broke_ = true;
      co_return break_off();
    }
    if (reads % kTurnReads == 0) (void)co_await loop_.yield();
  }
}

Task<bool> LayerPump::send_down(std::string_view bytes) {
  std::string unsent;
  while (!bytes.empty()) {
    const auto sent = ::send(far_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) {
      break_off();
      co_return false;
    }
    if (unsent.empty()) bytes = unsent = std::string(bytes);
    far_.slot().clear(Slot::kWritable);
    const bool room = co_await ready(far_.slot(), Slot::kWritable);
    if (!room) co_return false;
  }
  co_return true;
}

}  // namespace shunt
