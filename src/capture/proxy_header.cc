// SPDX-License-Identifier: GPL-2.0-only
#include "capture/proxy_header.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/counters.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/units.h"
#include "kernel/local_destination.h"

namespace shunt {
namespace {

using proxy_protocol::Header;
using std::unexpected;

ConnectFailure bad_header(std::string detail) {
  return {.reason = ConnectReason::bad_proxy_header, .os_error = 0, .detail = std::move(detail)};
}

ConnectFailure no_destination(std::string detail) {
  return {.reason = ConnectReason::no_destination, .os_error = 0, .detail = std::move(detail)};
}

/// What the bytes that are there make of the header.
struct Look {
  std::size_t header_bytes = 0;  ///< 0: not whole yet
  std::string wrong = {};        ///< "": nothing
  bool ended = false;            ///< no more will come
};

Look look(int fd) {
  std::array<char, limits::kProxyHeaderBytes> bytes;  // NOLINT(*-member-init): recv() fills it
  const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return {};
    return {.wrong = fmt::format("no PROXY header: {}", strerrordesc_np(errno))};
  }
  if (got == 0) return {.ended = true};
  const auto decoded = proxy_protocol::decode({bytes.data(), static_cast<std::size_t>(got)});
  if (decoded.malformed()) return {.wrong = std::string(decoded.why)};
  return {.header_bytes = decoded.complete() ? decoded.size : 0};
}

std::expected<std::string, ConnectFailure> consume(int fd, std::size_t size) {
  std::string bytes(size, '\0');
  const ssize_t got = ::recv(fd, bytes.data(), size, MSG_DONTWAIT);
  if (got == static_cast<ssize_t>(size)) return bytes;
  return unexpected(bad_header("the connection broke behind its PROXY header"));
}

/// Somebody who can have sent it, and to whom answers could go.
bool names_a_client(const Endpoint& source) {
  return source.port != 0 && !source.address.is_any() && !source.address.is_multicast();
}

/// Watches the client's socket while its header is awaited.
class Watch {
 public:
  Watch(EventLoop& loop, int fd) : loop_(loop), fd_(fd) {
    if (const auto slot = loop.watch(fd, Slot::kReadable)) slot_ = *slot;
  }
  ~Watch() {
    if (slot_ != nullptr) loop_.unwatch(fd_);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  [[nodiscard]] Slot* slot() const { return slot_; }

 private:
  EventLoop& loop_;
  int fd_;
  Slot* slot_ = nullptr;
};

}  // namespace

Task<std::expected<std::string, ConnectFailure>> take_proxy_header(EventLoop& loop, int fd,
                                                                   std::uint32_t wait_ms) {
  const Watch watch(loop, fd);
  Slot* slot = watch.slot();
  if (slot == nullptr) co_return unexpected(failure_from_errno(ENOMEM));
  const auto deadline = Clock::now() + std::chrono::milliseconds(wait_ms);
  while (true) {
    Look seen = look(fd);
    if (!seen.wrong.empty()) co_return unexpected(bad_header(std::move(seen.wrong)));
    if (seen.header_bytes > 0) co_return consume(fd, seen.header_bytes);
    // A FIN that epoll told of stands behind all bytes that there ever will be.
    if (seen.ended || slot->has(Slot::kPeerClosed | Slot::kFailed)) {
      co_return unexpected(bad_header("closed before its PROXY header was whole"));
    }
    slot->clear(Slot::kReadable);
    const std::uint32_t left_ms = ms_until(deadline);
    Wake wake = Wake::timeout;
    if (left_ms > 0) wake = co_await loop.readable(*slot, left_ms);
    if (wake == Wake::cancelled) {
      co_return unexpected(ConnectFailure{.reason = ConnectReason::cancelled, .detail = {}});
    }
    if (wake == Wake::timeout) {
      co_return unexpected(
          bad_header(fmt::format("no whole PROXY header in {}", format_duration_ms(wait_ms))));
    }
  }
}

std::expected<Header, ConnectFailure> split_proxy_header(std::string_view& datagram) {
  const auto decoded = proxy_protocol::decode(datagram);
  if (decoded.malformed()) return unexpected(bad_header(std::string(decoded.why)));
  if (!decoded.complete()) return unexpected(bad_header("a PROXY header that is cut short"));
  if (decoded.value.version != proxy_protocol::Version::v2) {
    return unexpected(bad_header("version 1 of the PROXY protocol carries no UDP"));
  }
  datagram.remove_prefix(decoded.size);
  return decoded.value;
}

std::expected<void, ConnectFailure> apply_proxy_header(const PlainListener& listener,
                                                       const Header& header, Flow& flow) {
  if (header.local || header.protocol != flow.protocol) {
    if (listener.to) return {};
    return unexpected(
        no_destination("a PROXY header without addresses, and the listener has no `to`"));
  }
  if (!names_a_client(header.source)) {
    return unexpected(
        bad_header(fmt::format("{} is no client's address and port", header.source.text())));
  }
  flow.announced = std::make_shared<Announcement>(
      Announcement{.sender = flow.source,
                   .destination = header.destination,
                   .authority = std::string(header.authority.substr(0, limits::kLogTextBytes)),
                   .alpn = std::string(header.alpn.substr(0, limits::kLogTextBytes)),
                   .unique_id = std::string(header.unique_id)});
  flow.source = header.source;
  if (listener.to) return {};
  flow.original_destination = header.destination;
  if (!ends_on_this_machine(header.destination.address)) return {};
  return unexpected(no_destination("a PROXY header may not lead to this machine itself; `to` may"));
}

void note_bad_header(const PlainListener& listener, const Endpoint& sender,
                     std::string_view detail) {
  count(Counter::proxy_headers_refused);
  static RateLimitedLog refused;
  refused.warn(fmt::format("{} refused at listen.{}: {}", sender.text(), listener.name, detail));
}

}  // namespace shunt
